/* SPDX-License-Identifier: MIT */
/*
 * Timers and clocks: setitimer, timer_create, timerfd, nanosleep and the vDSO's clocks agree with each other and never run backwards;
 * no sleep is too short. How late one may be is not ours to say on a shared machine, except that five seconds are too much.
 */
#include "check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MS   1000000ll
#define LATE (5000 * MS)

static int64_t now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void sleeps(void)
{
    static const int64_t lengths[] = {1, 1000, 100000, MS, 3 * MS, 20 * MS, 100 * MS};

    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        int64_t start = now(CLOCK_MONOTONIC), took;

        nanosleep(&(struct timespec){.tv_nsec = lengths[i]}, NULL);
        took = now(CLOCK_MONOTONIC) - start;
        CHECK(took >= lengths[i], "slept %lld instead of %lld ns", (long long)took, (long long)lengths[i]);
        CHECK(took < lengths[i] + LATE, "slept %lld instead of %lld ns", (long long)took, (long long)lengths[i]);
    }
}

static volatile sig_atomic_t ticks;

static void tick(int signal)
{
    (void)signal;
    ticks++;
}

/* n ticks of a periodic timer take n periods, whatever the program computes meanwhile. */
static void interval(void)
{
    struct itimerval every = {{0, 5000}, {0, 5000}}, off = {{0, 0}, {0, 0}};
    int64_t start = now(CLOCK_MONOTONIC), took;
    volatile uint64_t work = 0;

    ticks = 0;
    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &every, NULL);
    while (ticks < 20) {
        work += now(CLOCK_MONOTONIC) & 1;
    }
    took = now(CLOCK_MONOTONIC) - start;
    setitimer(ITIMER_REAL, &off, NULL);
    CHECK(took >= 20 * 5 * MS - MS, "20 ticks of 5 ms in %lld ns", (long long)took);
    CHECK(took < 20 * 5 * MS + 5 * LATE, "20 ticks of 5 ms in %lld ns", (long long)took);
}

static void posix_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec once = {.it_value = {.tv_nsec = 30 * MS}};
    int64_t start = now(CLOCK_MONOTONIC);
    timer_t timer;
    sigset_t set;
    int got;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    CHECK_EQ(timer_settime(timer, 0, &once, NULL), 0);
    CHECK_EQ(sigwait(&set, &got), 0);
    CHECK(now(CLOCK_MONOTONIC) - start >= 30 * MS, "too early");
    timer_delete(timer);
}

static void timer_fd(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec every = {{0, 10 * MS}, {0, 10 * MS}};
    int64_t start = now(CLOCK_MONOTONIC);
    uint64_t total = 0, n;

    timerfd_settime(fd, 0, &every, NULL);
    while (total < 10 && read(fd, &n, sizeof(n)) == sizeof(n)) {
        total += n;
    }
    CHECK(now(CLOCK_MONOTONIC) - start >= 10 * 10 * MS, "too early");
    close(fd);
    start = now(CLOCK_MONOTONIC);
    CHECK_EQ(poll(NULL, 0, 40), 0);
    CHECK(now(CLOCK_MONOTONIC) - start >= 40 * MS, "poll came back early");
}

/* The vDSO's clock lies between two system calls'; no clock and no counter goes backwards. */
static void clocks(void)
{
    static const clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    uint64_t last_tsc = 0;

    for (size_t k = 0; k < sizeof(ids) / sizeof(ids[0]); k++) {
        int64_t last = 0;

        for (int i = 0; i < 2000; i++) {
            struct timespec t;
            int64_t before, vdso, after;
            uint32_t low, high, aux;

            syscall(SYS_clock_gettime, ids[k], &t);
            before = t.tv_sec * 1000 * MS + t.tv_nsec;
            vdso = now(ids[k]);
            syscall(SYS_clock_gettime, ids[k], &t);
            after = t.tv_sec * 1000 * MS + t.tv_nsec;
            CHECK(last <= before && before <= vdso && vdso <= after, "%lld %lld %lld %lld", (long long)last,
                  (long long)before, (long long)vdso, (long long)after);
            last = after;
            if (i & 1) {
                __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
            } else {
                __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux));
            }
            CHECK(((uint64_t)high << 32 | low) >= last_tsc, "the TSC goes backwards");
            last_tsc = (uint64_t)high << 32 | low;
        }
    }
}

int main(void)
{
    sleeps();
    interval();
    posix_timer();
    timer_fd();
    clocks();
    return check_done();
}
