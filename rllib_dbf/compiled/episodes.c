/* Sums and orders over the steps of padded episodes; the same as functional/ and packing.py.
 *
 * B episodes of T transitions, W numbers a step (groups times quantiles). A mask is a prefix of each
 * row. Steps are few and small, so that calls into PyTorch cost what this saves.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

/* TD(lambda) targets (functional/targets.py), the same recursion for each of the W numbers: of
 * rewards [B, T] and values [B, T + 1, W], into out [B, T, W], which is zero outside the mask. */
void td_lambda(int64_t episodes, int64_t steps, int64_t width, const float *reward,
               const uint8_t *terminated, const uint8_t *mask, const float *values, float gamma,
               float lambda, float one_step, float *out) {
  float carry[width];
  for (int64_t b = 0; b < episodes; b++) {
    const float *value = values + b * (steps + 1) * width;
    memcpy(carry, value + steps * width, sizeof carry);
    for (int64_t t = steps - 1; t >= 0; t--) {
      const int64_t at = b * steps + t;
      const float discount = terminated[at] ? 0.0f : gamma;
      const float *now = value + t * width, *next = now + width;
      float *to = out + at * width;
      if (!mask[at]) { /* the recursion starts anew at the value of the last state */
        memcpy(carry, now, sizeof carry);
        memset(to, 0, sizeof carry);
        continue;
      }
      for (int64_t j = 0; j < width; j++) {
        const float start = reward[at] + one_step * discount * next[j];
        carry[j] = lambda == 0.0f ? start : start + lambda * discount * carry[j];
        to[j] = carry[j];
      }
    }
  }
}

/* out[b, t] = sum of discount^(k - t) x[b, k] over k >= t. */
void to_go(int64_t episodes, int64_t steps, const float *x, float discount, float *out) {
  for (int64_t b = 0; b < episodes; b++) {
    float total = 0.0f;
    for (int64_t t = steps - 1; t >= 0; t--) {
      total = x[b * steps + t] + discount * total;
      out[b * steps + t] = total;
    }
  }
}

/* Where the states and transitions of a packing lie (packing.py). There is room for all of the
 * padding; `counts` has T + 1 entries and ends with zeros where there is none. */
void pack(int64_t episodes, int64_t steps, const uint8_t *mask, int64_t *counts, int64_t *states,
          int64_t *transitions, int64_t *origins) {
  int64_t lengths[episodes], order[episodes], first[steps + 2];
  memset(first, 0, sizeof first);
  for (int64_t b = 0; b < episodes; b++) {
    int64_t length = 0;
    for (int64_t t = 0; t < steps; t++) length += mask[b * steps + t];
    lengths[b] = length;
    first[length]++;
  }
  /* first[l]: how many are longer than l, which is where those of length l begin. */
  int64_t longer = 0;
  for (int64_t length = steps; length >= 0; length--) {
    const int64_t these = first[length];
    first[length] = longer;
    longer += these;
  }
  for (int64_t t = 0; t <= steps; t++) counts[t] = t ? first[t - 1] : episodes;
  for (int64_t b = 0; b < episodes; b++) order[first[lengths[b]]++] = b;
  int64_t p = 0, m = 0;
  for (int64_t t = 0; t <= steps; t++)
    for (int64_t i = 0; i < counts[t]; i++, p++) {
      const int64_t b = order[i];
      states[p] = b * (steps + 1) + t;
      if (t == lengths[b]) continue;
      transitions[m] = b * steps + t;
      origins[m++] = p;
    }
}

/* Quantile Huber loss (functional/losses.py) of K predicted quantiles against K2 of the target, per
 * row; and its derivative by each predicted quantile. */
void quantile_huber(int64_t rows, int64_t count, int64_t targets, const float *z, const float *y,
                    const float *tau, float kappa, float *loss, float *slope) {
  const float share = 1.0f / (float)targets;
  float sums[count];
  for (int64_t r = 0; r < rows; r++, z += count, tau += count, y += targets, slope += count) {
    for (int64_t i = 0; i < count; i++) sums[i] = slope[i] = 0.0f;
    for (int64_t j = 0; j < targets; j++)
      for (int64_t i = 0; i < count; i++) {
        const float error = y[j] - z[i]; /* NaN fails all comparisons, and stays */
        const float weight = error <= 0.0f ? 1.0f - tau[i] : tau[i];
        float clipped = error > kappa ? kappa : error;
        clipped = clipped < -kappa ? -kappa : clipped;
        sums[i] += (error - 0.5f * clipped) * clipped * weight;
        slope[i] -= clipped * weight;
      }
    float total = 0.0f;
    for (int64_t i = 0; i < count; i++) {
      total += sums[i];
      slope[i] *= share;
    }
    loss[r] = total * share;
  }
}

/* The available action of greatest score of each row, the first of them on a tie; 0 if none is
 * greater than -infinity, and the first that is not a number if there is one. */
void greedy(int64_t rows, int64_t actions, const float *scores, const uint8_t *avail,
            int64_t *out) {
  for (int64_t r = 0; r < rows; r++, scores += actions, avail += actions) {
    float most = -INFINITY;
    out[r] = 0;
    for (int64_t a = 0; a < actions; a++) {
      if (!avail[a] || scores[a] <= most) continue; /* NaN fails the comparison */
      out[r] = a;
      most = scores[a];
      if (most != most) break;
    }
  }
}

/* Whether all of n numbers are in [0, count). */
int all_below(int64_t n, const int64_t *x, int64_t count) {
  int64_t bad = 0;
  for (int64_t i = 0; i < n; i++) bad += (uint64_t)x[i] >= (uint64_t)count;
  return bad == 0;
}
