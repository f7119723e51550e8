/* SMAX battles side by side in the lanes of vectors: what its C files share.
 *
 * The definition is in envs/smax_world.py, smax_sight.py and smax_kernels.py, whose operations are
 * repeated here in their order: N allies and E enemies make U units, allies first, and the last
 * axis is the batch. XLA multiplies by the reciprocals of numbers that it knows when it compiles,
 * and so does this code.
 */
#ifndef RLLIB_DBF_SMAX_H
#define RLLIB_DBF_SMAX_H

/* As many as a register holds: compilers make slow comparisons of longer vectors. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

#include "lanes.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define BATTLES 32 /* of a packed block: some times LANES */
#define STOP 4
#define ATTACKS 5 /* the first of them */
#define TYPES 6
#define NEARLY 1.0001f /* more than squares and roots round */

typedef uint32_t uvec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define ROOM __attribute__((aligned(4 * LANES)))

typedef struct { /* what never changes within a task */
  int64_t allies, enemies, width, drawn_types, world_steps, max_steps;
  int64_t deadly_walls, see_enemy_actions, random_targets;
  float time_step, map_width, map_height;
  const float *velocity, *damage, *reach, *sight, *radius, *full_health, *full_cooldown; /* [6] */
  const float *directions; /* [5, 2] */
} Task;

typedef struct { /* LANES battles; see `Battle` in smax_world.py */
  vec *x, *y, *health, *cooldown;
  ivec *types, *orders, *plans;
  vec *goal_x, *goal_y;
  ivec *aim, *time, *outcome;
  uvec *world_key, *key;
} Battle;

typedef struct { /* what whole batches show, batch first */
  float *obs, *state;     /* [B, N, O], [B, S] */
  uint8_t *avail, *alive; /* [B, N, A], [B, N] */
  float *reward;          /* [B] */
  int64_t *new_deaths;    /* [B] */
  uint8_t *outcome;       /* [B] */
} Shown;

/* Everyone follows their orders for one environment step; what becomes of battles that are not
 * running is nobody's concern. */
void smax_advance(const Task *task, const Battle *battle, ivec running);

/* The enemies choose their next actions, and the keys of the next step are drawn. */
void smax_plan(const Task *task, const Battle *battle);

/* What the first `count` of LANES battles show, written to rows `from` and on. */
void smax_look(const Task *task, const Battle *battle, int64_t from, int64_t count,
               const Shown *shown);

INLINE int any(ivec where) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask((__m512i)where, (__m512i)where) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)where, (__m256i)where);
#else
  int64_t pairs[LANES / 2], found = 0;
  memcpy(pairs, &where, sizeof pairs);
  for (int i = 0; i < LANES / 2; i++) found |= pairs[i];
  return found != 0;
#endif
}

INLINE ivec every_int(int32_t x) { return (ivec){0} + x; }
INLINE ivec pick_int(ivec where, ivec yes, ivec no) { return (where & yes) | (~where & no); }
INLINE vec only(ivec where, vec x) { return (vec)(where & (ivec)x); } /* else 0 */
INLINE vec greater(vec a, vec b) { return pick(a > b, a, b); }
INLINE vec smaller(vec a, vec b) { return pick(a < b, a, b); }
INLINE vec clip(vec x, float low, float high) {
  return smaller(greater(x, every(low)), every(high));
}

INLINE vec square_root(vec x) {
  vec root;
  for (int i = 0; i < LANES; i++) root[i] = sqrtf(x[i]);
  return root;
}

INLINE vec squares(vec dx, vec dy) { return dx * dx + dy * dy; }

/* A quantity of the units of these types. */
INLINE vec of_types(const float *table, ivec types) {
  vec found;
  for (int i = 0; i < LANES; i++) found[i] = table[types[i]];
  return found;
}

/* Direction in which orders move along an axis (0: east, 1: north), zero for stop and attacks. */
INLINE vec moves(const Task *task, ivec orders, int axis) {
  vec found = every(0.0f);
  for (int move = 0; move < STOP; move++)
    found = pick(orders == move, every(task->directions[2 * move + axis]), found);
  return found;
}

/* ---- JAX's random numbers, as in envs/jax_threefry.py --------------------------------------- */

typedef struct {
  uvec high, low;
} Key;

/* Threefry-2x32 with 20 rounds, for the counter (0, low). */
INLINE Key threefry(Key key, uint32_t low) {
  const uvec words[3] = {key.high, key.low, key.high ^ key.low ^ 0x1BD11BDAu};
  const int bits[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  uvec a = words[0], b = low + words[1];
#pragma GCC unroll 5
  for (int block = 0; block < 5; block++) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const int n = bits[block % 2][i];
      a += b;
      b = a ^ ((b << n) | (b >> (32 - n)));
    }
    a += words[(block + 1) % 3];
    b += words[(block + 2) % 3] + (uint32_t)(block + 1);
  }
  return (Key){a, b};
}

/* One number in [0, 1) from each key. */
INLINE vec uniform(Key key) {
  const Key drawn = threefry(key, 0);
  return (vec)(((drawn.high ^ drawn.low) >> 9) | 0x3F800000u) - 1.0f;
}

#endif
