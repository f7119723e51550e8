/* What the scripted enemies of SMAX decide. See `plan` in envs/smax_sight.py. */
#include "smax.h"

typedef struct { /* what one enemy knows of the allies, in its own order of them */
  vec *there_x, *there_y, *apart;
  ivec *in_sight, *in_reach;
  ivec sees, can_shoot;
} Foes;

/* a b + c, rounded once where the processor can. */
INLINE vec fused(vec a, vec b, vec c) {
#if defined(__FP_FAST_FMAF)
  vec sum;
  for (int i = 0; i < LANES; i++) sum[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return sum;
#else
  return a * b + c;
#endif
}

/* Sight divides and then multiplies what an enemy sees; XLA leaves both out where types are
 * constants, as their rounding cancels for all types. */
static void watch(const Task *task, const Battle *battle, int64_t unit, Foes *foes) {
  const int64_t n = task->allies;
  const vec sight = of_types(task->sight, battle->types[unit]);
  const vec reach = of_types(task->reach, battle->types[unit]);
  const vec far = sight * NEARLY, x = battle->x[unit], y = battle->y[unit];
  foes->sees = foes->can_shoot = every_int(0);
  for (int64_t i = 0; i < n; i++) {
    const int64_t ally = n - 1 - i;
    const vec dx = battle->x[ally] - x, dy = battle->y[ally] - y, square = squares(dx, dy);
    const ivec both = (battle->health[ally] > 0.0f) & (battle->health[unit] > 0.0f);
    foes->in_sight[i] = foes->in_reach[i] = every_int(0);
    if (!any(both & (square < far * far))) continue;
    vec apart = square_root(square);
    foes->in_sight[i] = both & (apart < sight);
    foes->there_x[i] = dx + x;
    foes->there_y[i] = dy + y;
    if (task->drawn_types) {
      const vec share_x = dx * (1.0f / sight), share_y = dy * (1.0f / sight);
      apart = square_root(squares(share_x * sight, share_y * sight));
      foes->there_x[i] = fused(share_x, sight, x);
      foes->there_y[i] = fused(share_y, sight, y);
    }
    foes->apart[i] = apart;
    foes->in_reach[i] = foes->in_sight[i] & (apart < reach);
    foes->sees |= foes->in_sight[i];
    foes->can_shoot |= foes->in_reach[i];
  }
}

/* One of those marked, as what `jax.random.choice` picks for this chance; -1 if there is none. */
static ivec random_one(const ivec *among, int64_t n, vec chance) {
  ivec count = every_int(0), found = every_int(-1);
  for (int64_t i = 0; i < n; i++) count -= among[i];
  const vec weight = 1.0f / greater(__builtin_convertvector(count, vec), every(1.0f));
  vec total = every(0.0f), below = total;
  for (int64_t i = 0; i < n; i++) total += only(among[i], weight);
  const vec wanted = total * (1.0f - chance);
  for (int64_t i = 0; i < n; i++) {
    const vec above = below + only(among[i], weight);
    found = pick_int((wanted > below) & (wanted <= above), every_int(i), found);
    below = above;
  }
  return found;
}

static ivec closest(const Foes *foes, int64_t n) {
  vec least = every(INFINITY);
  ivec found = every_int(0);
  for (int64_t i = 0; i < n; i++) {
    const ivec closer = foes->in_reach[i] & (foes->apart[i] < least);
    least = pick(closer, foes->apart[i], least);
    found = pick_int(closer, every_int(i), found);
  }
  return found;
}

/* Whom an enemy shoots at, in its own order of allies: its last target while it can; -1 if nobody
 * is in reach. */
static ivec take_aim(const Task *task, const Foes *foes, ivec last, Key key) {
  if (!any(foes->can_shoot)) return every_int(-1);
  ivec still = every_int(0);
  for (int64_t i = 0; i < task->allies; i++) still |= (last == (int32_t)i) & foes->in_reach[i];
  const ivec new = task->random_targets
                       ? random_one(foes->in_reach, task->allies, uniform(threefry(key, 1)))
                       : closest(foes, task->allies);
  return pick_int(foes->can_shoot, pick_int(still, last, new), every_int(-1));
}

/* Where an enemy goes, along both axes: to a random ally in sight, or else to its goal. */
static void take_way(const Foes *foes, int64_t n, Key key, vec *to_x, vec *to_y) {
  const ivec seeking = foes->sees & ~foes->can_shoot;
  if (!any(seeking)) return;
  const ivec chosen = random_one(foes->in_sight, n, uniform(threefry(key, 0)));
  vec x = every(0.0f), y = x;
  for (int64_t i = 0; i < n; i++) {
    x = pick(chosen == (int32_t)i, foes->there_x[i], x);
    y = pick(chosen == (int32_t)i, foes->there_y[i], y);
  }
  *to_x = pick(seeking, x, *to_x);
  *to_y = pick(seeking, y, *to_y);
}

/* The move that leads farthest along (x, y), the first of equals. */
static ivec steepest(vec x, vec y) {
  const vec options[4] = {y, x, -y, -x};
  vec best = y;
  ivec index = every_int(0);
  for (int i = 1; i < 4; i++) {
    index = pick_int(options[i] > best, every_int(i), index);
    best = greater(options[i], best);
  }
  return index;
}

static void plan_of(const Task *task, const Battle *battle, int64_t enemy, Key key, Foes *foes) {
  const int64_t unit = task->allies + enemy;
  const float middle_x = task->map_width / 2, middle_y = task->map_height / 2;
  const vec x = battle->x[unit], y = battle->y[unit];
  vec *goal_x = battle->goal_x + enemy, *goal_y = battle->goal_y + enemy;
  const ivec first = (*goal_x == 0.0f) & (*goal_y == 0.0f) & (battle->aim[enemy] == -1);
  *goal_x = pick(first, middle_x - (x - middle_x), *goal_x);
  *goal_y = pick(first, middle_y - (y - middle_y), *goal_y);
  watch(task, battle, unit, foes);
  const ivec aim = take_aim(task, foes, battle->aim[enemy], key);
  vec to_x = *goal_x, to_y = *goal_y;
  take_way(foes, task->allies, key, &to_x, &to_y);
  const ivec shot = ATTACKS + pick_int(aim > 0, aim, every_int(0));
  battle->plans[enemy] = pick_int(foes->can_shoot, shot, steepest(to_x - x, to_y - y));
  battle->aim[enemy] = aim;
}

void smax_plan(const Task *task, const Battle *battle) {
  const int64_t n = task->allies;
  vec room[3 * n] ROOM;
  ivec masks[2 * n] ROOM;
  memset(room, 0, sizeof room); /* of allies out of sight, nothing is written */
  const ivec none = every_int(0);
  Foes foes = {room, room + n, room + 2 * n, masks, masks + n, none, none};
  const Key before = {battle->key[0], battle->key[1]}, step_key = threefry(before, 1);
  const Key key = threefry(before, 0), world_key = threefry(step_key, 0);
  const Key enemy_key = threefry(step_key, 1);
  for (int64_t i = 0; i < task->enemies; i++)
    plan_of(task, battle, i, threefry(enemy_key, i), &foes);
  battle->key[0] = key.high;
  battle->key[1] = key.low;
  battle->world_key[0] = world_key.high;
  battle->world_key[1] = world_key.low;
}
