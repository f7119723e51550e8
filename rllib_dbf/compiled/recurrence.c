/* Walks of recurrent utility networks over packed episodes, for processors.
 *
 * The same equations as nets/gru.py and nets/unrolling.py, which tests compare this with. Float32,
 * row-major. Rows are independent of each other through all of time, so that a block of rows takes
 * every step while the weights stay in the cache, and blocks go to different threads. A row's sums
 * run in the same order whatever its block and thread: results do not depend on their number.
 *
 * H hidden units, G = 3 H gates (r, z, n), M remembered quantiles, F units of the hypernetwork, C
 * bases, A actions; H, M and F are multiples of 16. Row i of a step goes on from row i of the step
 * before, and counts never grow.
 */
#include "lanes.h"

#define BLOCK 24 /* rows that walk together: what they make of a step fits into the first cache */

/* ---- One step of a GRU --------------------------------------------------------------------- */

typedef struct {
  int64_t hidden;
  const float *input;     /* [H, G], transposed */
  const float *recurrent; /* [H, G], transposed */
  const float *bias;      /* [G]: of r and z the sum of both biases, of n the input's */
  const float *new_bias;  /* [H]: the recurrent bias of n */
} Gru;

/* Weights as PyTorch keeps them, turned into `room`: 2 H G + G + H numbers, the parts of a `Gru`. */
void gru_turn(int64_t h, const float *input, const float *recurrent, const float *input_bias,
              const float *recurrent_bias, float *room) {
  const int64_t g = 3 * h;
  turn(g, h, input, room, g);
  turn(g, h, recurrent, room + h * g, g);
  float *bias = room + 2 * h * g;
  EACH(j, 2 * h) AT(bias + j) = GET(input_bias + j) + GET(recurrent_bias + j);
  memcpy(bias + 2 * h, input_bias + 2 * h, h * sizeof *bias);
  memcpy(bias + g, recurrent_bias + 2 * h, h * sizeof *bias);
}

typedef struct { /* of all steps; gates and recurrent_new are null if nobody learns from them */
  float *states;        /* [P, H] */
  float *gates;         /* [P, G] */
  float *recurrent_new; /* [P, H]: U_n h + c_n */
} Trace;

static void gru_step(const Gru *gru, int64_t rows, const float *x, const float *before,
                     int64_t at, const Trace *to) {
  const int64_t h = gru->hidden, g = 3 * h;
  float gates[BLOCK * g], new_part[BLOCK * h];
  product(rows, g, h, x, h, 1, gru->input, g, gates, g, 0, gru->bias);
  product(rows, 2 * h, h, before, h, 1, gru->recurrent, g, gates, g, 1, 0);
  product(rows, h, h, before, h, 1, gru->recurrent + 2 * h, g, new_part, h, 0, gru->new_bias);
  for (int64_t i = 0; i < rows; i++) {
    const int64_t p = at + i;
    const float *gate = gates + i * g;
    EACH(j, h) {
      const vec r = sigmoid(GET(gate + j)), z = sigmoid(GET(gate + h + j));
      const vec u = GET(new_part + i * h + j), old = GET(before + i * h + j);
      const vec n = tangent(GET(gate + 2 * h + j) + r * u);
      AT(to->states + p * h + j) = n + z * (old - n);
      if (to->gates) {
        AT(to->gates + p * g + j) = r;
        AT(to->gates + p * g + h + j) = z;
        AT(to->gates + p * g + 2 * h + j) = n;
        AT(to->recurrent_new + p * h + j) = u;
      }
    }
  }
}

/* Rows of [from, from + BLOCK) that are there at a step. */
static int64_t present(const int64_t *counts, int64_t step, int64_t from) {
  const int64_t rows = counts[step] - from;
  return rows < 0 ? 0 : lesser(rows, BLOCK);
}

typedef struct {
  int64_t steps, nets;
  const int64_t *counts;
} Walk;

static void gru_block(const Walk *walk, const Gru *gru, const float *x, const float *hidden,
                      const Trace *trace, int64_t from) {
  const int64_t h = gru->hidden;
  const float *before = hidden + from * h;
  for (int64_t t = 0, at = from; t < walk->steps; at += walk->counts[t++]) {
    const int64_t rows = present(walk->counts, t, from);
    if (!rows) return;
    gru_step(gru, rows, x + at * h, before, at, trace);
    before = trace->states + at * h;
  }
}

/* Every net over the same rows, each with inputs [P, H] of its own. */
void gru_walk(const Walk *walk, const Gru *grus, const float *const *inputs, const float *hidden,
              const Trace *traces, int64_t threads) {
  const int64_t blocks = (walk->counts[0] + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < blocks * walk->nets; i++) {
    const int64_t net = i % walk->nets, from = i / walk->nets * BLOCK;
    gru_block(walk, grus + net, inputs[net], hidden, traces + net, from);
  }
}

/* ---- A GRU behind a factored hypernetwork that reads the greedy action's quantiles ----------- */

typedef struct {
  int64_t quantiles, features, bases, actions, padded_actions;
  const float *first, *first_bias;   /* [M, F] transposed, [F] */
  const float *second, *second_bias; /* [C, F], [C] */
  const float *bias;                 /* [H] */
  const float *mean, *mean_bias;     /* [H, padded A] transposed, [padded A] */
  const float *out, *out_bias;       /* [A, H], [A] */
  const float *phi;                  /* [H, M] transposed */
} Hypernet;

typedef struct { /* of a layer that learns, what hypernet_backward needs; see there */
  float *inputs, *small, *features, *mix; /* [P, H], [P, M], [P, F], [P, C] */
} Layer;

/* The input layer: what the GRU reads. */
static void finish(const Hypernet *net, int64_t h, int64_t rows, const float *prepared,
                   const float *z, float *x, const Layer *kept, int64_t at) {
  const int64_t m = net->quantiles, f = net->features, c = net->bases;
  float room[BLOCK * (m + f + c)];
  float *small = kept ? kept->small + at * m : room;
  float *features = kept ? kept->features + at * f : room + BLOCK * m;
  float *mix = kept ? kept->mix + at * c : room + BLOCK * (m + f);
  EACH(i, rows * m) AT(small + i) = asinh_of(GET(z + i));
  product(rows, f, m, small, m, 1, net->first, f, features, f, 0, net->first_bias);
  EACH(i, rows * f) AT(features + i) = rectified(GET(features + i));
  for (int64_t i = 0; i < rows; i++) {
    float *mixed = mix + i * c;
    for (int64_t k = 0; k < c; k++) {
      vec sum = every(0.0f);
      EACH(j, f) sum += GET(features + i * f + j) * GET(net->second + k * f + j);
      const float total = net->second_bias[k] + total_of(sum);
      mixed[k] = total < 0.0f ? 0.0f : total;
    }
    EACH(j, h) {
      vec sum = every(0.0f);
      for (int64_t k = 0; k < c; k++) sum += mixed[k] * GET(prepared + (i * c + k) * h + j);
      AT(x + i * h + j) = rectified(sum + GET(net->bias + j));
    }
  }
  if (kept) memcpy(kept->inputs + at * h, x, rows * h * sizeof *x);
}

/* The quantiles of each row's available action of greatest mean. */
static void remember(const Hypernet *net, int64_t h, int64_t rows, const float *states,
                     const uint8_t *avail, float *z) {
  const int64_t m = net->quantiles, wide = net->padded_actions;
  float scores[BLOCK * wide], weighted[BLOCK * h];
  product(rows, wide, h, states, h, 1, net->mean, wide, scores, wide, 0, net->mean_bias);
  for (int64_t i = 0; i < rows; i++) {
    int64_t best = 0;
    float most = -INFINITY;
    for (int64_t a = 0; a < net->actions; a++)
      if (avail[i * net->actions + a] && scores[i * wide + a] > most) {
        most = scores[i * wide + a];
        best = a;
      }
    EACH(j, h)
      AT(weighted + i * h + j) = GET(states + i * h + j) * GET(net->out + best * h + j);
    EACH(j, m) AT(z + i * m + j) = every(net->out_bias[best]);
  }
  product(rows, m, h, weighted, h, 1, net->phi, m, z, m, 1, 0);
}

static void hypernet_block(const Walk *walk, const Gru *gru, const Hypernet *net,
                           const float *prepared, const uint8_t *avail, const float *hidden,
                           float *entering, const Trace *trace, const Layer *kept, int64_t from) {
  const int64_t h = gru->hidden, m = net->quantiles;
  const float *before = hidden + from * h;
  for (int64_t t = 0, at = from; t < walk->steps; at += walk->counts[t++]) {
    const int64_t rows = present(walk->counts, t, from);
    if (!rows) return;
    float x[BLOCK * h];
    finish(net, h, rows, prepared + at * net->bases * h, entering + at * m, x, kept, at);
    gru_step(gru, rows, x, before, at, trace);
    before = trace->states + at * h;
    const int64_t kept = t + 1 < walk->steps ? present(walk->counts, t + 1, from) : 0;
    if (kept)
      remember(net, h, kept, before, avail + at * net->actions,
               entering + (at + walk->counts[t]) * m);
  }
}

/* Every net over the same rows; `entering` [P, M] holds the quantiles before the first step; `kept`
 * is of the first net, or null. */
void hypernet_walk(const Walk *walk, const Gru *grus, const Hypernet *hypernets,
                   const float *const *prepared, const uint8_t *avail, const float *hidden,
                   float *const *entering, const Trace *traces, const Layer *kept,
                   int64_t threads) {
  const int64_t blocks = (walk->counts[0] + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < blocks * walk->nets; i++) {
    const int64_t net = i % walk->nets, from = i / walk->nets * BLOCK;
    hypernet_block(walk, grus + net, hypernets + net, prepared[net], avail, hidden, entering[net],
                   traces + net, net ? 0 : kept, from);
  }
}

/* ---- Single steps --------------------------------------------------------------------------- */

typedef struct {
  int64_t obs, actions, agents;
  int64_t wide;               /* H, or C H before a hypernetwork */
  const float *obs_weight;    /* [O, wide], transposed */
  const float *action_weight; /* [A, wide], transposed; null without last actions */
  const float *agent_weight;  /* [N, wide], transposed; null without agents' numbers */
  const float *bias;          /* [wide] */
} Inputs;

/* What the input layer makes of what it sees, which for the one-hot parts is a row of weights. */
static void look(const Inputs *in, int64_t rows, int64_t from, const float *obs,
                 const int64_t *last, float *out) {
  const int64_t wide = in->wide;
  product(rows, wide, in->obs, obs + from * in->obs, in->obs, 1, in->obs_weight, wide, out, wide, 0,
          in->bias);
  for (int64_t i = 0; i < rows; i++) {
    const int64_t action = last[from + i], agent = (from + i) % in->agents;
    if (in->action_weight && action >= 0 && action < in->actions)
      EACH(j, wide) AT(out + i * wide + j) += GET(in->action_weight + action * wide + j);
    if (in->agent_weight)
      EACH(j, wide) AT(out + i * wide + j) += GET(in->agent_weight + agent * wide + j);
  }
}

typedef struct { /* what states are worth by their actions */
  int64_t actions, padded; /* the latter a multiple of 16 */
  const float *weight, *bias; /* [H, padded] transposed, [padded] */
} Worth;

static void score(const Worth *worth, int64_t h, int64_t rows, const float *states, float *scores) {
  const int64_t a = worth->actions, wide = worth->padded;
  float padded[BLOCK * wide];
  product(rows, wide, h, states, h, 1, worth->weight, wide, padded, wide, 0, worth->bias);
  for (int64_t i = 0; i < rows; i++) memcpy(scores + i * a, padded + i * wide, a * sizeof *scores);
}

/* One step of every row: new states [R, H] and, with a hypernetwork, new quantiles [R, M]; and the
 * scores [R, A] of every action, if it is known what they are worth. */
void act(int64_t rows, const Inputs *in, const Gru *gru, const Hypernet *net, const Worth *worth,
         const float *obs, const int64_t *last, const uint8_t *avail, const float *hidden,
         const float *quantiles, float *states, float *remembered, float *scores) {
  const int64_t h = gru->hidden;
  const Trace trace = {states, 0, 0};
  for (int64_t from = 0; from < rows; from += BLOCK) {
    const int64_t n = lesser(BLOCK, rows - from);
    float prepared[BLOCK * in->wide], x[BLOCK * h];
    look(in, n, from, obs, last, prepared);
    if (net)
      finish(net, h, n, prepared, quantiles + from * net->quantiles, x, 0, 0);
    else
      EACH(j, n * h) AT(x + j) = rectified(GET(prepared + j));
    gru_step(gru, n, x, hidden + from * h, from, &trace);
    if (net)
      remember(net, h, n, states + from * h, avail + from * net->actions,
               remembered + from * net->quantiles);
    if (worth) score(worth, h, n, states + from * h, scores + from * worth->actions);
  }
}

/* ---- Backwards through a GRU ----------------------------------------------------------------- */

typedef struct {
  const float *weight, *recurrent; /* [G, H], [G, H] */
  const float *inputs, *hidden;    /* [P, H], [R, H] */
  const float *grad;               /* [P, H], of the states */
  float *grad_gates;               /* [P, G], room: of what the inputs say to the gates */
  float *grad_new;                 /* [P, H], room: of U_n h + c_n */
  float *grad_inputs;              /* [P, H], or null */
  float *grad_hidden;              /* [R, H] */
  float *grad_weight, *grad_recurrent, *grad_bias, *grad_recurrent_bias; /* as the weights */
} Backward;

static void backward_block(const Walk *walk, int64_t h, const Trace *trace, const Backward *b,
                           int64_t from) {
  const int64_t g = 3 * h;
  float owed[BLOCK * h];
  memset(owed, 0, sizeof owed);
  int64_t t = 0, at = from;
  for (; t + 1 < walk->steps && present(walk->counts, t + 1, from); t++) at += walk->counts[t];
  for (; t >= 0; t--) {
    const int64_t rows = present(walk->counts, t, from), earlier = t ? walk->counts[t - 1] : 0;
    const float *before = t ? trace->states + (at - earlier) * h : b->hidden + from * h;
    for (int64_t i = 0; i < rows; i++) {
      const float *gate = trace->gates + (at + i) * g;
      float *out = b->grad_gates + (at + i) * g, *out_new = b->grad_new + (at + i) * h;
      EACH(j, h) {
        const vec r = GET(gate + j), z = GET(gate + h + j), n = GET(gate + 2 * h + j);
        const vec total = GET(b->grad + (at + i) * h + j) + GET(owed + i * h + j);
        const vec of_n = total * (1.0f - z) * (1.0f - n * n);
        const vec u = GET(trace->recurrent_new + (at + i) * h + j);
        AT(out + j) = of_n * u * r * (1.0f - r);
        AT(out + h + j) = total * (GET(before + i * h + j) - n) * z * (1.0f - z);
        AT(out + 2 * h + j) = of_n;
        AT(out_new + j) = of_n * r;
        AT(owed + i * h + j) = total * z;
      }
    }
    const float *gates = b->grad_gates + at * g, *of_new = b->grad_new + at * h;
    product(rows, h, 2 * h, gates, g, 1, b->recurrent, h, owed, h, 1, 0);
    product(rows, h, h, of_new, h, 1, b->recurrent + 2 * h * h, h, owed, h, 1, 0);
    if (b->grad_inputs)
      product(rows, h, g, gates, g, 1, b->weight, h, b->grad_inputs + at * h, h, 0, 0);
    if (t) at -= earlier;
  }
  const int64_t first = present(walk->counts, 0, from);
  memcpy(b->grad_hidden + from * h, owed, first * h * sizeof *owed);
}

/* One sixteenth of the gates' weights: 3 H / 16 tasks for each matrix. */
static void weight_rows(const Walk *walk, int64_t h, const Trace *trace, const Backward *b,
                        int64_t gate, int recurrent) {
  const int64_t g = 3 * h, rows = LANES;
  int64_t total = 0;
  for (int64_t t = 0; t < walk->steps; t++) total += walk->counts[t];
  if (!recurrent) {
    over_rows(rows, h, total, b->grad_gates + gate, g, b->inputs, b->grad_weight + gate * h, 0);
    return;
  }
  const int new_part = gate >= 2 * h;
  const float *left = new_part ? b->grad_new + gate - 2 * h : b->grad_gates + gate;
  const int64_t ld = new_part ? h : g, first = walk->counts[0];
  float *out = b->grad_recurrent + gate * h;
  over_rows(rows, h, first, left, ld, b->hidden, out, 0);
  const float *before = trace->states;
  left += first * ld;
  for (int64_t t = 1; t < walk->steps; t++) {
    over_rows(rows, h, walk->counts[t], left, ld, before, out, 1);
    left += walk->counts[t] * ld;
    before += walk->counts[t - 1] * h;
  }
}

/* Gradients of all that the states were made of, given `trace` of the forward walk. */
void gru_backward(const Walk *walk, int64_t hidden, const Trace *trace, const Backward *b,
                  int64_t threads) {
  const int64_t h = hidden, g = 3 * h, blocks = (walk->counts[0] + BLOCK - 1) / BLOCK;
  const int64_t parts = g / LANES;
  int64_t total = 0;
  for (int64_t t = 0; t < walk->steps; t++) total += walk->counts[t];
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < blocks; i++) backward_block(walk, h, trace, b, i * BLOCK);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i <= 2 * parts; i++) {
      if (i < 2 * parts) {
        weight_rows(walk, h, trace, b, i / 2 * LANES, i % 2);
        continue;
      }
      sum_rows(total, g, b->grad_gates, b->grad_bias);
      memcpy(b->grad_recurrent_bias, b->grad_bias, 2 * h * sizeof(float));
      sum_rows(total, h, b->grad_new, b->grad_recurrent_bias + 2 * h);
    }
  }
}
