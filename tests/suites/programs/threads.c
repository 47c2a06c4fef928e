/* SPDX-License-Identifier: MIT */
/*
 * Threads, futexes and signals between them: mutexes keep a sum right, a barrier keeps rounds together, a condition variable passes
 * a baton, thread-local storage is each one's own, the vector registers of each survive being switched away from, and a storm of
 * signals changes nothing.
 */
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#define THREADS 4
#define TURNS   2000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static uint64_t sum;
static atomic_uint_fast64_t atomic_sum;
static unsigned baton;
static _Thread_local uint64_t own;
static atomic_int vector_lost, rounds_broken;
static atomic_int round_of[THREADS];

static void *add_up(void *argument)
{
    uintptr_t id = (uintptr_t)argument;

    own = id;
    for (uint64_t i = 0; i < TURNS; i++) {
        pthread_mutex_lock(&mutex);
        sum += i;
        pthread_mutex_unlock(&mutex);
        atomic_fetch_add(&atomic_sum, i);
        own += THREADS;
    }
    return (void *)(own == id + TURNS * THREADS ? 0ul : 1ul);
}

static void *pass_baton(void *argument)
{
    unsigned id = (unsigned)(uintptr_t)argument;

    for (unsigned i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        while (baton % THREADS != id) {
            pthread_cond_wait(&changed, &mutex);
        }
        baton++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *in_step(void *argument)
{
    unsigned id = (unsigned)(uintptr_t)argument;

    for (int i = 1; i < 50; i++) {
        atomic_store(&round_of[id], i);
        pthread_barrier_wait(&barrier);
        for (int k = 0; k < THREADS; k++) {
            rounds_broken += atomic_load(&round_of[k]) < i;
        }
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* All of ymm0-3 and the x87 stack hold this thread's numbers while others run. */
static void *keep_vectors(void *argument)
{
    uint64_t id = (uint64_t)(uintptr_t)argument + 1, in[4] = {id, id << 20, ~id, id * 77}, out[4][4];

    for (int i = 0; i < 100; i++) {
        int64_t integer = (int64_t)id * 1000 + i, back = 0;

        __asm__ volatile("vmovdqu (%0), %%ymm0; vmovdqa %%ymm0, %%ymm1; vmovdqa %%ymm0, %%ymm2; vmovdqa %%ymm0, %%ymm3\n"
                         "fildll %3\n"
                         "mov $24, %%eax; syscall\n" /* sched_yield */
                         "vmovdqu %%ymm0, (%1); vmovdqu %%ymm1, 32(%1); vmovdqu %%ymm2, 64(%1); vmovdqu %%ymm3, 96(%1)\n"
                         "fistpll %2\n"
                         "vzeroupper"
                         :: "r"(in), "r"(out), "m"(back), "m"(integer)
                         : "rax", "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3");
        for (int k = 0; k < 16; k++) {
            vector_lost += out[k / 4][k % 4] != in[k % 4];
        }
        vector_lost += back != integer;
    }
    return NULL;
}

static void all(void *(*body)(void *))
{
    pthread_t thread[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;

        pthread_join(thread[i], &result);
        CHECK_EQ((uintptr_t)result, 0);
    }
}

static atomic_int delivered;

static void count(int signal)
{
    (void)signal;
    delivered++;
}

static atomic_bool stop;

static void *storm(void *argument)
{
    pthread_t target = *(pthread_t *)argument;

    while (!stop) {
        pthread_kill(target, SIGUSR1);
        usleep(200);
    }
    return NULL;
}

static void under_signals(void)
{
    pthread_t self = pthread_self(), thread;
    uint64_t a = 1, b = 0;

    signal(SIGUSR1, count);
    pthread_create(&thread, NULL, storm, &self);
    while (delivered < 50) {
        for (int i = 0; i < 1000; i++) {
            a = a * 6364136223846793005ull + 1442695040888963407ull;
            b++;
        }
    }
    stop = 1;
    pthread_join(thread, NULL);
    uint64_t again = 1;

    for (uint64_t i = 0; i < b; i++) {
        again = again * 6364136223846793005ull + 1442695040888963407ull;
    }
    CHECK_EQ(a, again);
}

int main(void)
{
    pthread_barrier_init(&barrier, NULL, THREADS);
    all(add_up);
    CHECK_EQ(sum, (uint64_t)THREADS * TURNS * (TURNS - 1) / 2);
    CHECK_EQ(atomic_sum, (uint64_t)THREADS * TURNS * (TURNS - 1) / 2);
    all(pass_baton);
    CHECK_EQ(baton, 200 * THREADS);
    all(in_step);
    CHECK_EQ(rounds_broken, 0);
    if (__builtin_cpu_supports("avx")) {
        all(keep_vectors);
        CHECK_EQ(vector_lost, 0);
    }
    under_signals();
    return check_done();
}
