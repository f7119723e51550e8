/* Return quantiles of implicit quantile heads (nets/heads.py), forwards and backwards.
 *
 *     phi_k = ReLU(W cos(pi tau_k j) + c),   q_a = out_a . (h * mean_k phi_k) + b_a,
 *     z_k = out_u . (h * phi_k) + b_u        of the action u that was taken
 *
 * P states of N agents with hidden states of H numbers, K fractions that the agents share, F cosines,
 * A actions; H and F are multiples of 16. M of the states have a quantile of an action: `rows` says
 * which. Some states go through everything while they lie in the cache, and blocks of them go to
 * different threads; a number's sum runs in the same order whatever their number.
 */
#include "lanes.h"

#define ROWS 48  /* pairs of a state and a fraction at a time, about */
#define UNITS 16 /* of a weight's gradient, per task */

typedef struct {
  int64_t agents, actions, padded, fractions, hidden, cosines;
  const float *phi, *phi_bias; /* [H, F], [H] */
  const float *out, *out_bias; /* [A, H], [A] */
} Head;

typedef struct { /* what the backward pass needs, of the M states; or null */
  float *cosines; /* [M, K, F] */
  float *phi;     /* [M, K, H] */
} Kept;

typedef struct {
  const float *phi_t, *out_t, *out_bias; /* [F, H], [H, padded], [padded] */
} Turned;

static void cosines_of(int64_t fractions, int64_t count, const float *tau, float *out) {
  for (int64_t k = 0; k < fractions; k++)
    EACH(j, count) {
      float wave[LANES];
      for (int i = 0; i < LANES; i++) wave[i] = (float)(j + i);
      AT(out + k * count + j) = cosine_of_turns(0.5f * tau[k] * GET(wave));
    }
}

/* z [N, K] of one state. */
static void quantiles_of(const Head *head, const float *hidden, const int64_t *actions,
                         const float *phi, float *z) {
  const int64_t h = head->hidden, fractions = head->fractions;
  for (int64_t i = 0; i < head->agents; i++) {
    const float *state = hidden + i * h, *out = head->out + actions[i] * h;
    for (int64_t k = 0; k < fractions; k++) {
      vec sum = every(0.0f);
      EACH(j, h) sum += GET(state + j) * GET(out + j) * GET(phi + k * h + j);
      z[i * fractions + k] = total_of(sum) + head->out_bias[actions[i]];
    }
  }
}

/* q [N, A] of one state. */
static void means_of(const Head *head, const Turned *turned, const float *hidden, const float *phi,
                     float *q) {
  const int64_t h = head->hidden, n = head->agents, wide = head->padded;
  const float share = 1.0f / (float)head->fractions;
  float mean[h], weighted[n * h], scores[n * wide];
  EACH(j, h) {
    vec sum = every(0.0f);
    for (int64_t k = 0; k < head->fractions; k++) sum += GET(phi + k * h + j);
    AT(mean + j) = sum * share;
  }
  for (int64_t i = 0; i < n; i++)
    EACH(j, h) AT(weighted + i * h + j) = GET(hidden + i * h + j) * GET(mean + j);
  product(n, wide, h, weighted, h, 1, turned->out_t, wide, scores, wide, 0, turned->out_bias);
  for (int64_t i = 0; i < n; i++)
    memcpy(q + i * head->actions, scores + i * wide, head->actions * sizeof *q);
}

typedef struct {
  const float *tau, *hidden; /* [P, K], [P, N, H] */
  const int64_t *rows;       /* [P]: of z, -1 for states without; null if all have, in order */
  const int64_t *actions;    /* [M, N] */
  float *q, *z;              /* [P, N, A], [M, N, K]; either may be null */
} Judged;

static void judge_states(const Head *head, const Turned *turned, const Judged *of, const Kept *kept,
                         int64_t from, int64_t to) {
  const int64_t n = head->agents, h = head->hidden, k = head->fractions, f = head->cosines;
  float waves[(to - from) * k * f], phi[(to - from) * k * h];
  cosines_of((to - from) * k, f, of->tau + from * k, waves);
  product((to - from) * k, h, f, waves, f, 1, turned->phi_t, h, phi, h, 0, head->phi_bias);
  EACH(j, (to - from) * k * h) AT(phi + j) = rectified(GET(phi + j));
  for (int64_t p = from; p < to; p++) {
    const float *mine = phi + (p - from) * k * h, *state = of->hidden + p * n * h;
    if (of->q) means_of(head, turned, state, mine, of->q + p * n * head->actions);
    const int64_t row = of->rows ? of->rows[p] : p;
    if (!of->z || row < 0) continue;
    quantiles_of(head, state, of->actions + row * n, mine, of->z + row * n * k);
    if (!kept->phi) continue;
    memcpy(kept->phi + row * k * h, mine, k * h * sizeof *mine);
    memcpy(kept->cosines + row * k * f, waves + (p - from) * k * f, k * f * sizeof *waves);
  }
}

/* Fills in q and z of P states. */
void judge(int64_t states, const Head *head, const Judged *of, const Kept *kept, int64_t threads) {
  const int64_t h = head->hidden, wide = head->padded, some = ROWS / head->fractions;
  const int64_t block = some ? some : 1;
  float phi_t[head->cosines * h], out_t[h * wide], bias[wide];
  memset(out_t, 0, sizeof out_t);
  memset(bias, 0, sizeof bias);
  for (int64_t j = 0; j < h; j++) {
    for (int64_t k = 0; k < head->cosines; k++) phi_t[k * h + j] = head->phi[j * head->cosines + k];
    for (int64_t a = 0; a < head->actions; a++) out_t[j * wide + a] = head->out[a * h + j];
  }
  memcpy(bias, head->out_bias, head->actions * sizeof *bias);
  const Turned turned = {phi_t, out_t, bias};
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < states; i += block)
    judge_states(head, &turned, of, kept, i, lesser(i + block, states));
}

typedef struct {
  const float *grad;                   /* [M, N, K], of z */
  const int64_t *states;               /* [M]: the state of each row of z; null if in order */
  float *hidden;                       /* [P, N, H], zeros but for these states */
  float *weighted, *features;          /* [M, N, H], [M, K, H], room */
  float *phi, *phi_bias, *out, *out_bias; /* as the weights */
} JudgedBack;

/* Gradients of one state's h, of out_u h before it is split up, and of phi before its ReLU. */
static void judge_state_back(const Head *head, const Judged *of, const Kept *kept,
                             const JudgedBack *b, int64_t row) {
  const int64_t n = head->agents, h = head->hidden, fractions = head->fractions;
  const int64_t p = b->states ? b->states[row] : row;
  const float *phi = kept->phi + row * fractions * h, *grad = b->grad + row * n * fractions;
  float *features = b->features + row * fractions * h;
  memset(features, 0, fractions * h * sizeof *features);
  for (int64_t i = 0; i < n; i++) {
    const float *state = of->hidden + (p * n + i) * h;
    const float *out = head->out + of->actions[row * n + i] * h;
    float *of_state = b->hidden + (p * n + i) * h, *weighted = b->weighted + (row * n + i) * h;
    EACH(j, h) {
      const vec both = GET(state + j) * GET(out + j);
      vec sum = every(0.0f);
      for (int64_t k = 0; k < fractions; k++) {
        const float g = grad[i * fractions + k];
        sum += g * GET(phi + k * h + j);
        AT(features + k * h + j) += g * both;
      }
      AT(of_state + j) = sum * GET(out + j);
      AT(weighted + j) = sum * GET(state + j);
    }
  }
  EACH(j, fractions * h) {
    const vec open = GET(phi + j);
    AT(features + j) = pick(open > 0.0f, GET(features + j), every(0.0f));
  }
}

/* Gradients of the weights of 16 units. */
static void judge_units(int64_t rows, const Head *head, const Judged *of, const Kept *kept,
                        const JudgedBack *b, int64_t unit) {
  const int64_t n = head->agents, h = head->hidden, k = head->fractions, f = head->cosines;
  over_rows(UNITS, f, rows * k, b->features + unit, h, kept->cosines, b->phi + unit * f, 0);
  vec sum = every(0.0f);
  for (int64_t i = 0; i < rows * k; i++) sum += GET(b->features + i * h + unit);
  AT(b->phi_bias + unit) = sum;
  for (int64_t a = 0; a < head->actions; a++) AT(b->out + a * h + unit) = every(0.0f);
  for (int64_t i = 0; i < rows * n; i++)
    AT(b->out + of->actions[i] * h + unit) += GET(b->weighted + i * h + unit);
}

/* Gradients of all that z was made of but the fractions. */
void judge_backward(int64_t rows, const Head *head, const Judged *of, const Kept *kept,
                    const JudgedBack *b, int64_t threads) {
  const int64_t n = head->agents, units = head->hidden / UNITS;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < rows; i++) judge_state_back(head, of, kept, b, i);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i <= units; i++) {
      if (i < units) {
        judge_units(rows, head, of, kept, b, i * UNITS);
        continue;
      }
      memset(b->out_bias, 0, head->actions * sizeof(float));
      for (int64_t r = 0; r < rows * n; r++)
        for (int64_t k = 0; k < head->fractions; k++)
          b->out_bias[of->actions[r]] += b->grad[r * head->fractions + k];
    }
  }
}
