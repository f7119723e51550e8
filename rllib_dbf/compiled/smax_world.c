/* The dynamics of SMAX: moving, shooting, dying, pushing. See envs/smax_world.py. */
#include "smax.h"

#define AWAY 1e6f /* where nobody can touch a unit that is dead */
#define TOGETHER 4 /* pairs of units that are looked at before asking whether any touch */

typedef struct { /* of one environment step, per unit */
  vec *step_x, *step_y, *radius, *reach, *damage, *reload;
  ivec *targets;
  vec *hurt; /* damage suffered in a world step */
} Acts;

/* Whom the orders attack; the enemies count the allies backwards. */
static void prepare(const Task *task, const Battle *battle, const Acts *acts) {
  const int64_t n = task->allies, units = n + task->enemies;
  for (int64_t i = 0; i < units; i++) {
    const ivec types = battle->types[i], orders = battle->orders[i];
    const vec pace = of_types(task->velocity, types);
    acts->step_x[i] = moves(task, orders, 0) * pace * task->time_step;
    acts->step_y[i] = moves(task, orders, 1) * pace * task->time_step;
    acts->radius[i] = of_types(task->radius, types);
    acts->reach[i] = of_types(task->reach, types);
    acts->damage[i] = of_types(task->damage, types);
    acts->reload[i] = of_types(task->full_cooldown, types);
    const ivec choice = pick_int(orders >= ATTACKS, orders - ATTACKS, every_int(0));
    acts->targets[i] = i < n ? (int32_t)n + choice : (int32_t)n - 1 - choice;
  }
}

/* How much longer or shorter reloading takes, in seconds. */
INLINE vec deviation(const Task *task, Key key, int64_t unit) {
  const float low = -task->time_step, high = 2 * task->time_step;
  return greater(uniform(threefry(key, unit)) * (high - low) + low, every(low));
}

/* Those of a unit's lanes that are ready to shoot do, if their targets are in reach. */
static void shoot(const Task *task, const Battle *battle, const Acts *acts, ivec running, Key key,
                  int64_t unit) {
  const vec cooldown = battle->cooldown[unit];
  battle->cooldown[unit] = cooldown - task->time_step;
  const ivec ready = running & (battle->orders[unit] >= ATTACKS) & (battle->health[unit] > 0.0f) &
                     (cooldown <= 0.0f);
  if (!any(ready)) return;
  vec x, y, health;
  for (int i = 0; i < LANES; i++) {
    const int32_t target = acts->targets[unit][i];
    x[i] = battle->x[target][i];
    y[i] = battle->y[target][i];
    health[i] = battle->health[target][i];
  }
  const vec apart = square_root(squares(battle->x[unit] - x, battle->y[unit] - y));
  const ivec shoots = ready & (apart < acts->reach[unit]) & (health > 0.0f);
  if (!any(shoots)) return;
  /* Added as a difference, like in JaxMARL, so that both round alike. */
  const vec delay = acts->reload[unit] + deviation(task, key, unit);
  battle->cooldown[unit] = pick(shoots, cooldown + (delay - cooldown), battle->cooldown[unit]);
  for (int i = 0; i < LANES; i++)
    if (shoots[i]) acts->hurt[acts->targets[unit][i]][i] += acts->damage[unit][i];
}

static void walk(const Task *task, const Battle *battle, const Acts *acts, int64_t unit) {
  const float width = task->map_width, height = task->map_height;
  const ivec alive = battle->health[unit] > 0.0f;
  const vec health = greater(battle->health[unit] - acts->hurt[unit], every(0.0f));
  vec x = battle->x[unit], y = battle->y[unit];
  x = pick(alive, clip(x + acts->step_x[unit], 0.0f, width), x);
  y = pick(alive, clip(y + acts->step_y[unit], 0.0f, height), y);
  const ivec inside = (x > 0.0f) & (y > 0.0f) & (x < width) & (y < height);
  battle->x[unit] = x;
  battle->y[unit] = y;
  battle->health[unit] = task->deadly_walls ? only(inside, health) : health;
}

/* Half of what two units overlap moves each of them away from the other. The sums of a unit run
 * over the others in their order, because both sums of a pair are added to at once. */
INLINE void push(const vec *x, const vec *y, vec touching, ivec both, int64_t i, int64_t j,
                 vec *sum_x, vec *sum_y) {
  const vec dx = x[i] - x[j], dy = y[i] - y[j];
  const vec ratio = touching / (square_root(squares(dx, dy)) + 1e-6f);
  const vec overlap = only(both, greater(ratio - 1.0f, every(0.0f)));
  sum_x[i] += dx * overlap;
  sum_y[i] += dy * overlap;
  sum_x[j] -= dx * overlap;
  sum_y[j] -= dy * overlap;
}

/* Move overlapping living units away from each other. */
static void push_apart(int64_t units, const Battle *battle, const vec *radius, ivec running) {
  vec near_x[units + TOGETHER] ROOM, near_y[units + TOGETHER] ROOM;
  vec sum_x[units] ROOM, sum_y[units] ROOM;
  for (int64_t i = 0; i < units; i++) {
    const ivec alive = running & (battle->health[i] > 0.0f);
    near_x[i] = pick(alive, battle->x[i], every(AWAY * (i + 1)));
    near_y[i] = battle->y[i];
  }
  for (int64_t i = units; i < units + TOGETHER; i++) near_x[i] = near_y[i] = every(-AWAY);
  memset(sum_x, 0, sizeof sum_x);
  memset(sum_y, 0, sizeof sum_y);
  for (int64_t i = 0; i < units; i++)
    for (int64_t j = i + 1; j < units; j += TOGETHER) {
      ivec touches = every_int(0);
#pragma GCC unroll 4
      for (int64_t k = j; k < j + TOGETHER; k++) {
        const vec touching = (radius[i] + radius[k < units ? k : i]) * NEARLY;
        touches |= squares(near_x[i] - near_x[k], near_y[i] - near_y[k]) < touching * touching;
      }
      if (!any(touches)) continue;
      for (int64_t k = j; k < lesser(j + TOGETHER, units); k++) {
        const ivec both = (battle->health[i] > 0.0f) & (battle->health[k] > 0.0f);
        push(battle->x, battle->y, radius[i] + radius[k], both, i, k, sum_x, sum_y);
      }
    }
  for (int64_t i = 0; i < units; i++) {
    battle->x[i] += sum_x[i] * 0.5f;
    battle->y[i] += sum_y[i] * 0.5f;
  }
}

void smax_advance(const Task *task, const Battle *battle, ivec running) {
  const int64_t units = task->allies + task->enemies;
  vec room[7 * units] ROOM;
  ivec targets[units] ROOM;
  const Acts acts = {room,             room + units,     room + 2 * units, room + 3 * units,
                     room + 4 * units, room + 5 * units, targets,          room + 6 * units};
  prepare(task, battle, &acts);
  Key key = {battle->world_key[0], battle->world_key[1]};
  for (int64_t step = 0; step < task->world_steps; step++) {
    const Key world_key = threefry(key, 1);
    key = threefry(key, 0);
    memset(acts.hurt, 0, units * sizeof *acts.hurt);
    for (int64_t i = 0; i < units; i++) shoot(task, battle, &acts, running, world_key, i);
    for (int64_t i = 0; i < units; i++) walk(task, battle, &acts, i);
    push_apart(units, battle, acts.radius, running);
  }
}
