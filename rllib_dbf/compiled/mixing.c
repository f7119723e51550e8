/* QMIX's mixing network (nets/mixers/qmix.py), forwards and backwards.
 *
 * R states of S numbers, N agents, E units that mix, D hidden units of the networks that make the
 * weights; D and E are multiples of 16. The first layers of all four networks that read the state
 * stand side by side: of W1, W2, b1 and v, F = 2 D + 2 E units. A block of states goes through
 * everything while it lies in the cache, and blocks go to different threads; a number's sum runs in
 * the same order whatever their number. Weights come as PyTorch keeps them and are turned here: a
 * call into PyTorch costs more than the turning.
 */
#include "lanes.h"

#define BLOCK 48 /* states at a time */
#define UNITS 16 /* of a weight's gradient, per task */

enum { OF_W1, OF_W2, OF_B1, OF_V, LAYERS }; /* first layers, in the order in which they stand */

typedef struct {
  int64_t agents, embed, hidden, state;
  const float *first[LAYERS], *first_bias[LAYERS]; /* [D, S], [D, S], [E, S], [E, S] */
  const float *w1, *w1_bias;                       /* [N E, D], [N E] */
  const float *w2, *w2_bias;                       /* [E, D], [E] */
  const float *value, *value_bias;                 /* [E], [1] */
} Mixing;

typedef struct {
  float *z;                                   /* [R, N] */
  float *first[LAYERS], *first_bias[LAYERS];  /* all as the weights */
  float *w1, *w1_bias, *w2, *w2_bias, *value, *value_bias;
} MixingGradients;

/* What is computed on the way: of the forward pass, which the other needs, and then of that one. */
typedef struct {
  float *features; /* [R, F], rectified but for the part that is b1; then gradients before that */
  float *w1;       /* [R, N E], with their signs */
  float *w2;       /* [R, E], with their signs */
  float *mixed;    /* [R, E] */
} Made;

INLINE int64_t width_of(const Mixing *net) { return 2 * net->hidden + 2 * net->embed; }
INLINE int64_t units_of(const Mixing *net, int layer) {
  return layer < OF_B1 ? net->hidden : net->embed;
}
static Made made_in(const Mixing *net, int64_t rows, float *room) {
  const int64_t e = net->embed;
  float *w1 = room + rows * width_of(net), *w2 = w1 + rows * net->agents * e;
  return (Made){room, w1, w2, w2 + rows * e};
}
INLINE vec size_of(vec x) { return (vec)((ivec)x & 0x7fffffff); }
INLINE vec signed_as(vec x, vec sign) { /* x times the sign, of which that of zero is zero */
  return pick(sign > 0.0f, x, pick(sign < 0.0f, -x, every(0.0f)));
}
INLINE vec elu(vec x) { return pick(x > 0.0f, x, exponential(x) - 1.0f); }

typedef struct { /* weights turned, for the forward pass */
  float *first, *first_bias, *w1, *w2; /* [S, F], [F], [D, N E], [D, E] */
} Turned;

static Turned turned_in(const Mixing *net, float *room) {
  const int64_t f = width_of(net), d = net->hidden, e = net->embed, s = net->state;
  float *bias = room + s * f, *w1 = bias + f, *w2 = w1 + d * net->agents * e;
  for (int64_t layer = 0, at = 0; layer < LAYERS; at += units_of(net, layer++)) {
    turn(units_of(net, layer), s, net->first[layer], room + at, f);
    memcpy(bias + at, net->first_bias[layer], units_of(net, layer) * sizeof *bias);
  }
  turn(net->agents * e, d, net->w1, w1, net->agents * e);
  turn(e, d, net->w2, w2, e);
  return (Turned){room, bias, w1, w2};
}

static void mix_block(const Mixing *net, const Turned *turned, int64_t rows, int64_t at,
                      const float *z, const float *state, const Made *to, float *out) {
  const int64_t d = net->hidden, e = net->embed, n = net->agents, f = width_of(net);
  float *features = to->features + at * f, *w1 = to->w1 + at * n * e, *w2 = to->w2 + at * e;
  product(rows, f, net->state, state + at * net->state, net->state, 1, turned->first, f, features,
          f, 0, turned->first_bias);
  for (int64_t i = 0; i < rows; i++) {
    float *row = features + i * f;
    EACH(j, 2 * d) AT(row + j) = rectified(GET(row + j));
    EACH(j, e) AT(row + 2 * d + e + j) = rectified(GET(row + 2 * d + e + j));
  }
  product(rows, n * e, d, features, f, 1, turned->w1, n * e, w1, n * e, 0, net->w1_bias);
  product(rows, e, d, features + d, f, 1, turned->w2, e, w2, e, 0, net->w2_bias);
  for (int64_t i = 0; i < rows; i++) {
    const float *row = features + i * f, *q = z + (at + i) * n;
    vec total = every(0.0f);
    EACH(j, e) {
      vec sum = GET(row + 2 * d + j);
      for (int64_t k = 0; k < n; k++) sum += q[k] * size_of(GET(w1 + (i * n + k) * e + j));
      AT(to->mixed + (at + i) * e + j) = sum;
      total += elu(sum) * size_of(GET(w2 + i * e + j));
      total += GET(row + 2 * d + e + j) * GET(net->value + j);
    }
    out[at + i] = total_of(total) + net->value_bias[0];
  }
}

/* out[R]: the team's values of utilities z [R, N]. `made` has R (F + (N + 2) E) numbers, `turned`
 * (S + 1) F + D (N + 1) E. */
void mix(int64_t rows, const Mixing *net, const float *z, const float *state, float *made,
         float *turned, float *out, int64_t threads) {
  const Made to = made_in(net, rows, made);
  const Turned weights = turned_in(net, turned);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < rows; i += BLOCK)
    mix_block(net, &weights, lesser(BLOCK, rows - i), i, z, state, &to, out);
}

/* Gradients of what the layers give, before their ReLUs, and of z. */
static void mix_back_block(const Mixing *net, int64_t rows, int64_t at, const float *z,
                           const Made *from, const float *grad, const Made *to, float *grad_z) {
  const int64_t d = net->hidden, e = net->embed, n = net->agents, f = width_of(net);
  float *features = to->features + at * f, *w1 = to->w1 + at * n * e, *w2 = to->w2 + at * e;
  for (int64_t i = 0; i < rows; i++) {
    const float *was = from->features + (at + i) * f, *q = z + (at + i) * n;
    const float g = grad[at + i];
    vec of_z[n];
    for (int64_t k = 0; k < n; k++) of_z[k] = every(0.0f);
    EACH(j, e) {
      const vec mixed = GET(from->mixed + (at + i) * e + j);
      const vec second = GET(from->w2 + (at + i) * e + j), value = elu(mixed);
      const vec slope = pick(mixed > 0.0f, every(1.0f), value + 1.0f);
      const vec of_mixed = g * size_of(second) * slope;
      AT(w2 + i * e + j) = signed_as(g * value, second);
      AT(features + i * f + 2 * d + j) = of_mixed;
      const vec open = GET(was + 2 * d + e + j);
      AT(features + i * f + 2 * d + e + j) =
          pick(open > 0.0f, g * GET(net->value + j), every(0.0f));
      for (int64_t k = 0; k < n; k++) {
        const vec first = GET(from->w1 + ((at + i) * n + k) * e + j);
        of_z[k] += of_mixed * size_of(first);
        AT(w1 + (i * n + k) * e + j) = signed_as(of_mixed * q[k], first);
      }
    }
    for (int64_t k = 0; k < n; k++) grad_z[(at + i) * n + k] = total_of(of_z[k]);
  }
  product(rows, d, n * e, w1, n * e, 1, net->w1, d, features, f, 0, 0);
  product(rows, d, e, w2, e, 1, net->w2, d, features + d, f, 0, 0);
  for (int64_t i = 0; i < rows; i++) {
    const float *was = from->features + (at + i) * f;
    EACH(j, 2 * d) {
      float *each = features + i * f + j;
      AT(each) = pick(GET(was + j) > 0.0f, GET(each), every(0.0f));
    }
  }
}

/* out[UNITS, D] = left[R, ·]^T right[R, D] of rows that lie `ld` and `ldr` apart. */
static void weight_units(int64_t d, int64_t rows, const float *left, int64_t ld, const float *right,
                         int64_t ldr, float *out) {
  int add = 0;
  for (int64_t k = 0; k < rows; k += DEPTH, add = 1)
    product(UNITS, d, lesser(DEPTH, rows - k), left + k * ld, 1, ld, right + k * ldr, ldr, out, d,
            add, 0);
}

/* The gradient of all first layers' weights for some numbers of the state; `room` is [S, F]. */
static void first_units(const Mixing *net, int64_t rows, const float *state, const Made *of,
                        float *room, const MixingGradients *to, int64_t unit) {
  const int64_t f = width_of(net), s = net->state, end = lesser(unit + UNITS, s);
  over_rows(end - unit, f, rows, state + unit, s, of->features, room + unit * f, 0);
  for (int64_t layer = 0, at = 0; layer < LAYERS; at += units_of(net, layer++))
    for (int64_t j = 0; j < units_of(net, layer); j++)
      for (int64_t k = unit; k < end; k++) to->first[layer][j * s + k] = room[k * f + at + j];
}

static void sums(const Mixing *net, int64_t rows, const Made *from, const float *grad,
                 const Made *of, const MixingGradients *to) {
  const int64_t d = net->hidden, e = net->embed, f = width_of(net);
  float first[f];
  sum_rows(rows, f, of->features, first);
  for (int64_t layer = 0, at = 0; layer < LAYERS; at += units_of(net, layer++))
    memcpy(to->first_bias[layer], first + at, units_of(net, layer) * sizeof *first);
  sum_rows(rows, net->agents * e, of->w1, to->w1_bias);
  sum_rows(rows, e, of->w2, to->w2_bias);
  memset(to->value, 0, e * sizeof(float));
  to->value_bias[0] = 0.0f;
  for (int64_t i = 0; i < rows; i++) {
    EACH(j, e) AT(to->value + j) += grad[i] * GET(from->features + i * f + 2 * d + e + j);
    to->value_bias[0] += grad[i];
  }
}

/* Gradients of all that the values were made of but the state, given theirs and what `mix` made;
 * `made` is as much again, `room` [S, F]. */
void mix_backward(int64_t rows, const Mixing *net, const float *z, const float *state,
                  float *made_before, const float *grad, float *made, float *room,
                  const MixingGradients *to, int64_t threads) {
  const int64_t d = net->hidden, e = net->embed, n = net->agents, f = width_of(net);
  const int64_t w1 = n * e / UNITS, w2 = e / UNITS, first = (net->state + UNITS - 1) / UNITS;
  const Made from = made_in(net, rows, made_before), of = made_in(net, rows, made);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < rows; i += BLOCK)
      mix_back_block(net, lesser(BLOCK, rows - i), i, z, &from, grad, &of, to->z);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i <= first + w1 + w2; i++) {
      int64_t unit = i * UNITS;
      if (i < first) {
        first_units(net, rows, state, &of, room, to, unit);
      } else if (i < first + w1) {
        unit -= first * UNITS;
        weight_units(d, rows, of.w1 + unit, n * e, from.features, f, to->w1 + unit * d);
      } else if (i < first + w1 + w2) {
        unit -= (first + w1) * UNITS;
        weight_units(d, rows, of.w2 + unit, e, from.features + d, f, to->w2 + unit * d);
      } else {
        sums(net, rows, &from, grad, &of, to);
      }
    }
  }
}
