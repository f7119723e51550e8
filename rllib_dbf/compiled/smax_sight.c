/* What SMAX allies observe and may do. See `look` in envs/smax_sight.py. */
#include "smax.h"

#define OWN 10    /* features of a unit about itself */
#define OTHER 13  /* of a unit about another one */
#define WIDE 16   /* the latter and what is written too much */

typedef struct { /* of LANES battles, per unit */
  vec *health, *x, *y, *cooldown, *east, *north, *shot;
} Features;

/* Dead units show nothing of themselves; whether others see their acts is decided elsewhere. */
static void show_units(const Task *task, const Battle *battle, const Features *shown) {
  const int64_t n = task->allies, e = task->enemies;
  for (int64_t i = 0; i < n + e; i++) {
    const vec health = battle->health[i], cooldown = battle->cooldown[i];
    const vec full = of_types(task->full_health, battle->types[i]);
    const vec reload = of_types(task->full_cooldown, battle->types[i]);
    const ivec alive = health > 0.0f, orders = battle->orders[i];
    const vec waits = task->drawn_types ? cooldown / reload : cooldown * (1.0f / reload);
    shown->health[i] = only(alive, task->drawn_types ? health / full : health * (1.0f / full));
    shown->x[i] = only(alive, battle->x[i] * (1.0f / task->map_width));
    shown->y[i] = only(alive, battle->y[i] * (1.0f / task->map_height));
    shown->cooldown[i] = only(alive, clip(waits, 0.0f, 1.0f));
    const vec attack = __builtin_convertvector(orders & (orders >= ATTACKS), vec);
    const ivec told = every_int(i < n || task->see_enemy_actions ? -1 : 0);
    shown->east[i] = only(told, moves(task, orders, 0));
    shown->north[i] = only(told, moves(task, orders, 1));
    shown->shot[i] = only(told, attack * (1.0f / ((i < n ? e : n) + ATTACKS - 1)));
  }
}

/* The state of one battle [U, 10], and what others may see of its units [U, WIDE] but dx, dy. */
static void show_battle(const Battle *battle, const Features *shown, int64_t units, int lane,
                        float *state, float *others) {
  for (int64_t i = 0; i < units; i++, state += OWN, others += WIDE) {
    state[0] = others[0] = shown->health[i][lane];
    state[1] = shown->x[i][lane];
    state[2] = shown->y[i][lane];
    state[3] = others[6] = shown->cooldown[i][lane];
    others[3] = shown->east[i][lane];
    others[4] = shown->north[i][lane];
    others[5] = shown->shot[i][lane];
    const int32_t type = battle->health[i][lane] > 0.0f ? battle->types[i][lane] : -1;
    for (int k = 0; k < TYPES; k++) state[4 + k] = others[7 + k] = k == type;
  }
}

typedef struct { /* what one ally sees of every unit, in LANES battles */
  vec *dx, *dy;
  ivec *seen, *in_reach;
} View;

static void view(const Task *task, const Battle *battle, int64_t ally, const View *to) {
  const vec sight = of_types(task->sight, battle->types[ally]), inverse = 1.0f / sight;
  const vec reach = of_types(task->reach, battle->types[ally]);
  const vec far = greater(sight, reach) * NEARLY;
  for (int64_t j = 0; j < task->allies + task->enemies; j++) {
    const vec dx = battle->x[j] - battle->x[ally], dy = battle->y[j] - battle->y[ally];
    const ivec both = (battle->health[ally] > 0.0f) & (battle->health[j] > 0.0f);
    to->dx[j] = dx * inverse;
    to->dy[j] = dy * inverse;
    to->seen[j] = to->in_reach[j] = every_int(0);
    const vec square = squares(dx, dy);
    if (!any(both & (square < far * far))) continue;
    const vec apart = square_root(square);
    to->seen[j] = both & (apart < sight);
    to->in_reach[j] = both & (apart < reach);
  }
}

/* One ally's observation in one battle. What it sees of a unit is written together with three
 * numbers too many, which the next unit or its own features overwrite. */
static void write_obs(const View *view, int64_t units, int64_t ally, int lane, const float *others,
                      const float *own, float *obs) {
  const ivec is_dx = {0, -1}, is_dy = {0, 0, -1};
  for (int64_t j = 0; j < units; j++) {
    if (j == ally) continue;
    const vec dx = (vec)every_int(((ivec)view->dx[j])[lane]);
    const vec dy = (vec)every_int(((ivec)view->dy[j])[lane]);
    const ivec seen = every_int(view->seen[j][lane]);
    AT(obs) = only(seen, pick(is_dx, dx, pick(is_dy, dy, GET(others + j * WIDE))));
    for (int k = LANES; k < WIDE; k += LANES) AT(obs + k) = only(seen, GET(others + j * WIDE + k));
    obs += OTHER;
  }
  memcpy(obs, own, OWN * sizeof *own);
}

static void write_avail(const Task *task, const View *view, int lane, int alive, uint8_t *avail) {
  memset(avail, alive, STOP);
  avail[STOP] = 1;
  for (int64_t j = 0; j < task->enemies; j++)
    avail[ATTACKS + j] = view->in_reach[task->allies + j][lane] & 1;
}

void smax_look(const Task *task, const Battle *battle, int64_t from, int64_t count,
               const Shown *shown) {
  const int64_t n = task->allies, e = task->enemies, units = n + e;
  const int64_t row = (units - 1) * OTHER + OWN;
  vec room[9 * units] ROOM;
  ivec masks[2 * units] ROOM;
  float others[LANES * units * WIDE] ROOM;
  memset(others, 0, sizeof others);
  const Features features = {room,
                             room + units,
                             room + 2 * units,
                             room + 3 * units,
                             room + 4 * units,
                             room + 5 * units,
                             room + 6 * units};
  const View seen = {room + 7 * units, room + 8 * units, masks, masks + units};
  show_units(task, battle, &features);
  for (int64_t b = 0; b < count; b++)
    show_battle(battle, &features, units, b, shown->state + (from + b) * units * OWN,
                others + b * units * WIDE);
  for (int64_t i = 0; i < n; i++) {
    view(task, battle, i, &seen);
    for (int64_t b = 0; b < count; b++) {
      const int64_t at = (from + b) * n + i;
      const float *own = shown->state + ((from + b) * units + i) * OWN;
      write_obs(&seen, units, i, b, others + b * units * WIDE, own, shown->obs + at * row);
      shown->alive[at] = battle->health[i][b] > 0.0f;
      write_avail(task, &seen, b, shown->alive[at], shown->avail + at * (ATTACKS + e));
    }
  }
}
