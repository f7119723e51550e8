/* The actions of agents that explore or act greedily, as exploration.py has them in NumPy: the same
 * numbers to the bit.
 */
#include <math.h>
#include <stdint.h>

/* The available action of greatest score, the first of equals; a score that is no number counts as
 * greatest. */
static int64_t greedy_of(int64_t actions, const float *scores, const uint8_t *avail) {
  int64_t best = 0;
  float most = -INFINITY;
  for (int64_t a = 0; a < actions; a++) {
    if (!avail[a]) continue;
    if (isnan(scores[a])) return a;
    if (scores[a] > most) {
      most = scores[a];
      best = a;
    }
  }
  return best;
}

static int64_t nth_available(int64_t actions, const uint8_t *avail, int64_t n) {
  int64_t a = 0;
  for (; a < actions; a++)
    if (avail[a] && n-- == 0) break;
  return a;
}

/* Not inline: joined with the sum that it is part of, it would be rounded once instead of twice. */
static double __attribute__((noinline)) by_chance(double epsilon, int64_t count) {
  return epsilon * (1.0 / (double)count);
}

/* Actions [R] of R agents and the probability of each; `coins` [2, R], from [0, 1), say who explores
 * and which available action they take. Without coins all are greedy. */
void choose(int64_t rows, int64_t actions, const float *scores, const uint8_t *avail, double epsilon,
            const double *coins, int64_t *chosen, float *probability) {
  for (int64_t i = 0; i < rows; i++, scores += actions, avail += actions) {
    const int64_t greedy = greedy_of(actions, scores, avail);
    chosen[i] = greedy;
    probability[i] = 1.0f;
    if (!coins) continue;
    int64_t count = 0;
    for (int64_t a = 0; a < actions; a++) count += avail[a];
    if (coins[i] < epsilon)
      chosen[i] = nth_available(actions, avail, (int64_t)(coins[rows + i] * (double)count));
    const double by_choice = chosen[i] == greedy ? 1.0 - epsilon : 0.0;
    probability[i] = (float)(by_chance(epsilon, count) + by_choice);
  }
}
