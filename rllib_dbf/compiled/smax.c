/* A SMAX step of a whole batch. See envs/smax_kernels.py. */
#include "smax.h"

enum { RUNNING, WIN, LOSS, DRAW, TIMEOUT };

static vec *take(vec **rows, int64_t count) {
  vec *first = *rows;
  *rows += count;
  return first;
}

/* The fields of packed battles. */
static Battle unpack(const Task *task, vec *rows) {
  const int64_t e = task->enemies, units = task->allies + e;
  Battle battle;
  battle.x = take(&rows, units);
  battle.y = take(&rows, units);
  battle.health = take(&rows, units);
  battle.cooldown = take(&rows, units);
  battle.types = (ivec *)take(&rows, units);
  battle.orders = (ivec *)take(&rows, units);
  battle.plans = (ivec *)take(&rows, e);
  battle.goal_x = take(&rows, e);
  battle.goal_y = take(&rows, e);
  battle.aim = (ivec *)take(&rows, e);
  battle.time = (ivec *)take(&rows, 1);
  battle.outcome = (ivec *)take(&rows, 1);
  battle.world_key = (uvec *)take(&rows, 2);
  battle.key = (uvec *)take(&rows, 2);
  return battle;
}

/* The allies' actions and the enemies' plans; no actions where a battle is not running, because
 * nobody looked at what was given there. */
static void take_orders(const Task *task, const Battle *battle, const int32_t *actions,
                        int64_t count, ivec running) {
  const int64_t n = task->allies;
  for (int64_t i = 0; i < n; i++) {
    ivec given = every_int(STOP);
    for (int64_t b = 0; b < count; b++) given[b] = actions[b * n + i];
    battle->orders[i] = pick_int(running, given, every_int(STOP));
  }
  memcpy(battle->orders + n, battle->plans, task->enemies * sizeof *battle->plans);
}

static ivec outcome_of(const Task *task, const Battle *battle) {
  const int64_t n = task->allies, units = n + task->enemies;
  ivec allies = every_int(0), enemies = allies;
  for (int64_t i = 0; i < n; i++) allies |= battle->health[i] > 0.0f;
  for (int64_t i = n; i < units; i++) enemies |= battle->health[i] > 0.0f;
  const ivec late = *battle->time >= (int32_t)task->max_steps;
  const ivec unsettled = pick_int(late, every_int(TIMEOUT), every_int(RUNNING));
  return pick_int(enemies, pick_int(allies, unsettled, every_int(LOSS)),
                  pick_int(allies, every_int(WIN), every_int(DRAW)));
}

/* The share of the enemies' health that was taken, and 1 for a win. */
static vec reward_of(const Task *task, const Battle *before, const Battle *after) {
  const int64_t n = task->allies, e = task->enemies;
  vec damage = every(0.0f);
  for (int64_t i = n; i < n + e; i++)
    damage += (before->health[i] - after->health[i]) / of_types(task->full_health, after->types[i]);
  return damage * (1.0f / e) + only(*after->outcome == WIN, every(1.0f));
}

static ivec living_allies(const Task *task, const Battle *battle) {
  ivec living = every_int(0);
  for (int64_t i = 0; i < task->allies; i++) living -= battle->health[i] > 0.0f;
  return living;
}

/* LANES battles, of which the first `count` are somebody's: rows [W, LANES] lie BATTLES apart. */
static void step_lanes(const Task *task, int32_t *packed, const int32_t *actions, int64_t from,
                      int64_t count, const Shown *shown) {
  vec rows[task->width] ROOM, old[task->width] ROOM;
  for (int64_t i = 0; i < task->width; i++) rows[i] = old[i] = GET(packed + i * BATTLES);
  const Battle before = unpack(task, old), after = unpack(task, rows);
  ivec running = *before.outcome == RUNNING;
  for (int64_t b = count; b < LANES; b++) running[b] = 0;
  vec reward = every(0.0f);
  if (any(running)) {
    take_orders(task, &after, actions + from * task->allies, count, running);
    smax_advance(task, &after, running);
    *after.outcome = outcome_of(task, &after);
    *after.time += 1;
    smax_plan(task, &after);
    reward = only(running, reward_of(task, &before, &after));
    for (int64_t i = 0; i < task->width; i++)
      AT(packed + i * BATTLES) = rows[i] = pick(running, rows[i], old[i]);
  }
  smax_look(task, &after, from, count, shown);
  const ivec died = living_allies(task, &before) - living_allies(task, &after);
  for (int64_t b = 0; b < count; b++) {
    shown->reward[from + b] = reward[b];
    shown->outcome[from + b] = (*after.outcome)[b];
    shown->new_deaths[from + b] = died[b];
  }
}

/* Put start states, columns of starts [W, capacity], into the battles whose row is not negative. */
void smax_install(const Task *task, int64_t battles, int64_t capacity, int32_t *packed,
                  const int32_t *starts, const int32_t *rows) {
  for (int64_t b = 0; b < battles; b++) {
    if (rows[b] < 0) continue;
    int32_t *battle = packed + b / BATTLES * task->width * BATTLES + b % BATTLES;
    for (int64_t i = 0; i < task->width; i++)
      battle[i * BATTLES] = starts[i * capacity + rows[b]];
  }
}

/* The same, and then one step of packed battles [blocks, W, BATTLES] by actions [battles, N]. */
void smax_step(const Task *task, int64_t battles, int64_t capacity, int32_t *packed,
               const int32_t *starts, const int32_t *rows, const int32_t *actions,
               const Shown *shown) {
  smax_install(task, battles, capacity, packed, starts, rows);
  for (int64_t from = 0; from < battles; from += LANES) {
    int32_t *lanes = packed + from / BATTLES * task->width * BATTLES + from % BATTLES;
    step_lanes(task, lanes, actions, from, lesser(LANES, battles - from), shown);
  }
}
