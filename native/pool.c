/* Memory of the rings of one stack: counted, and bounded as Linux bounds it (__sk_mem_raise_allocated). */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

/**
 * us_pool_new() - an account without limits.
 *
 * Return: NULL when there is no memory.
 */
struct us_pool *us_pool_new(void)
{
    struct us_pool *pool = calloc(1, sizeof *pool);

    if (!pool)
        return NULL;
    pool->low = pool->pressure = pool->high = UINT64_MAX;
    pool->budget = -1;
    pool->references = 1;
    return pool;
}

/**
 * us_pool_hold() - one reference more: rings and blocks outlive the stack when somebody reads them.
 * @pool: may be NULL.
 */
struct us_pool *us_pool_hold(struct us_pool *pool)
{
    if (pool)
        __atomic_add_fetch(&pool->references, 1, __ATOMIC_RELAXED);
    return pool;
}

/**
 * us_pool_release() - one reference less.
 * @pool: freed with the last reference; may be NULL.
 */
void us_pool_release(struct us_pool *pool)
{
    if (pool && __atomic_sub_fetch(&pool->references, 1, __ATOMIC_ACQ_REL) == 0)
        free(pool);
}

/**
 * us_pool_spend() - whether one more allocation may succeed.
 * @pool: may be NULL.
 *
 * Return: 0 when a test has used up the budget that it gave.
 */
int us_pool_spend(struct us_pool *pool)
{
    if (!pool || pool->budget < 0)
        return 1;
    if (!pool->budget)
        return 0;
    pool->budget--;
    return 1;
}

/**
 * may_take() - tcp_mem's three limits.
 * @pool: the account.
 * @after: bytes that would be used.
 * @own: bytes that the ring has by now.
 *
 * Return: 0 when it is refused.
 */
static int may_take(struct us_pool *pool, uint64_t after, uint64_t own)
{
    if (after <= pool->low) {
        pool->pressed = 0;
        return 1;
    }
    if (after > pool->pressure && !pool->pressed) {
        pool->pressed = 1;
        pool->pressures++;
    }
    if (after > pool->high)
        return 0;
    if (own < US_BLOCK_MIN || !pool->pressed) /* the first block of each: tcp_rmem[0], tcp_wmem[0] */
        return 1;
    return pool->high / (pool->rings ? pool->rings : 1) > own; /* its fair share, under pressure */
}

/**
 * us_pool_alloc() - counted memory.
 * @pool: the account; may be NULL.
 * @size: bytes.
 * @own: bytes that the ring has by now; the new ones come in their place.
 * @force: the limits are passed over.
 *
 * Return: NULL when there is none, or no more may be taken.
 */
void *us_pool_alloc(struct us_pool *pool, uint64_t size, uint64_t own, int force)
{
    uint64_t used;
    void *memory;

    if (!us_pool_spend(pool))
        return NULL;
    if (pool) {
        used = __atomic_load_n(&pool->used, __ATOMIC_RELAXED) + pool->held;
        if (!may_take(pool, used + size - (own < used ? own : used), own) && !force)
            return NULL;
    }
    memory = malloc(size); /* small pages: one byte far ahead must not cost a huge one */
    if (memory && pool)
        __atomic_add_fetch(&pool->used, size, __ATOMIC_RELAXED);
    return memory;
}

/**
 * us_pool_charge() - counts memory that is not ours.
 * @pool: the account; may be NULL.
 * @size: bytes more.
 * @own: bytes that the ring has by now.
 *
 * Return: 0 when no more may be taken.
 */
int us_pool_charge(struct us_pool *pool, uint64_t size, uint64_t own)
{
    if (!us_pool_spend(pool))
        return 0;
    if (!pool)
        return 1;
    if (!may_take(pool, __atomic_load_n(&pool->used, __ATOMIC_RELAXED) + pool->held + size, own))
        return 0;
    __atomic_add_fetch(&pool->used, size, __ATOMIC_RELAXED);
    return 1;
}

/**
 * us_pool_uncharge() - that memory is not counted any more.
 * @pool: the account; may be NULL.
 * @size: bytes.
 */
void us_pool_uncharge(struct us_pool *pool, uint64_t size)
{
    if (pool && __atomic_sub_fetch(&pool->used, size, __ATOMIC_RELAXED) + pool->held < pool->low)
        pool->pressed = 0;
}

/**
 * us_pool_free() - gives memory back.
 * @pool: the account it is counted in; may be NULL.
 * @memory: may be NULL.
 * @size: its bytes.
 */
void us_pool_free(struct us_pool *pool, void *memory, uint64_t size)
{
    free(memory);
    if (memory)
        us_pool_uncharge(pool, size);
}
