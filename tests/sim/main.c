/*
 * sim [--seeds N] [--first S] [--seconds T]   runs seeds S to S+N-1
 * sim --seed S [--trace]                      one, with its trace
 * sim --mutant NAME [--seeds N]               0 only if a checker complains
 * sim --mutants [--seeds N] [--share I N]     all of them, or of N shares number I (from 0)
 * sim --fixture                               over libraft's fixture
 * sim --sync                                  with a synchronous mode
 *
 * A seed that fails is run again at once to print what led to it.
 */
#include <fcntl.h>
#include <signal.h>

#include "base/str.h"
#include "checks.h"
#include "sim.h"
#include "trace.h"

struct arguments {
    struct sim_options options;
    uint64_t first, n;
    uint64_t share, n_shares;
    bool trace, mutants;
};

static volatile uint64_t running_seed;

/* An assertion of the code under test failed: say in which history. */
static void on_abort(int number)
{
    (void)number;
    printf("ASSERTION seed=%llu: run it with --seed %llu --trace\n",
           (unsigned long long)running_seed, (unsigned long long)running_seed);
    trace_print();
    (void)fflush(stdout);
    _exit(1);
}

static bool parse_number(const char *text, uint64_t *ret_value)
{
    return text != NULL && str_to_u64(text, 0, UINT64_MAX / 2, ret_value);
}

static bool parse_mutant(const char *text, enum sim_mutant *ret_mutant)
{
    for (unsigned m = 0; text != NULL && m < MUTANTS; m++) {
        if (str_equal(text, sim_mutant_name((enum sim_mutant)m))) {
            *ret_mutant = (enum sim_mutant)m;
            return true;
        }
    }
    return false;
}

static bool parse(char **argv, struct arguments *a)
{
    *a = (struct arguments){.options = {.seconds = 120}, .first = 1, .n = 20, .n_shares = 1};
    for (char **arg = argv + 1; *arg != NULL; arg++) {
        bool good = true;

        if (str_equal(*arg, "--seeds")) {
            good = parse_number(*++arg, &a->n);
        } else if (str_equal(*arg, "--first")) {
            good = parse_number(*++arg, &a->first);
        } else if (str_equal(*arg, "--seed")) {
            good = parse_number(*++arg, &a->first);
            a->n = 1;
        } else if (str_equal(*arg, "--seconds")) {
            good = parse_number(*++arg, &a->options.seconds);
        } else if (str_equal(*arg, "--mutant")) {
            good = parse_mutant(*++arg, &a->options.mutant);
        } else if (str_equal(*arg, "--mutants")) {
            a->mutants = true;
        } else if (str_equal(*arg, "--share")) {
            good = parse_number(*++arg, &a->share) && parse_number(*++arg, &a->n_shares) &&
                   a->share < a->n_shares;
        } else if (str_equal(*arg, "--fixture")) {
            a->options.fixture = true;
        } else if (str_equal(*arg, "--sync")) {
            a->options.sync = true;
        } else if (str_equal(*arg, "--trace")) {
            a->trace = true;
        } else {
            good = false;
        }
        if (!good) {
            printf("bad argument: %s\n", *arg != NULL ? *arg : "(missing)");
            return false;
        }
    }
    return true;
}

static void show_again(uint64_t seed, const struct sim_options *options)
{
    struct sim_stats unused = {0};

    trace_set(TRACE_LAST);
    (void)sim_run(seed, options, &unused); /* Fails again, as it is the same history. */
    trace_print();
    trace_set(TRACE_OFF);
    printf("FAILED seed=%llu: %s\n", (unsigned long long)seed, checks_last_failure());
}

static void print_stats(const struct sim_stats *stats)
{
#define SIM_STATS_PRINT(name, required) printf(" " #name "=%llu", (unsigned long long)stats->name);
    SIM_STATS(SIM_STATS_PRINT)
#undef SIM_STATS_PRINT
    printf("\nfaults of each kind:");
#define SIM_STATS_PRINT_FAULT(name, weight) \
    printf(" " #name "=%llu", (unsigned long long)stats->fault_##name);
    SIM_FAULT_KINDS(SIM_STATS_PRINT_FAULT)
#undef SIM_STATS_PRINT_FAULT
    printf("\nworst frozen-at minus deadline: %.3f ms\n",
           stats->late_is_measured ? (double)stats->late_ns_max / 1e6 : 0.0);
}

/* What never happened was not simulated. */
static bool saw_everything(const struct sim_stats *stats, bool fixture, bool sync)
{
    bool all = true;

#define SIM_STATS_REQUIRE(name, required)                                   \
    if ((required) && stats->name == 0) {                                   \
        printf("FAILED: not a single one of " #name " in the whole run\n"); \
        all = false;                                                        \
    }
    SIM_STATS(SIM_STATS_REQUIRE)
#undef SIM_STATS_REQUIRE
#define SIM_STATS_REQUIRE_FAULT(name, weight)                              \
    if (stats->fault_##name == 0) {                                        \
        printf("FAILED: not a single fault " #name " in the whole run\n"); \
        all = false;                                                       \
    }
    SIM_FAULT_KINDS(SIM_STATS_REQUIRE_FAULT)
#undef SIM_STATS_REQUIRE_FAULT
    return all;
}

static int run_seeds(const struct arguments *a)
{
    struct sim_stats stats = {0};
    uint64_t failed = 0;

    for (uint64_t seed = a->first; seed < a->first + a->n; seed++) {
        running_seed = seed;
        if (!sim_run(seed, &a->options, &stats)) {
            failed++;
            show_again(seed, &a->options);
        }
    }
    printf("%llu seeds, %llu failed:", (unsigned long long)a->n, (unsigned long long)failed);
    print_stats(&stats);
    if (a->n >= 50 && !saw_everything(&stats, a->options.fixture, a->options.sync)) {
        return 1;
    }
    return failed == 0 ? 0 : 1;
}

/* By which promise it has to be caught; another complaint is not enough. */
static const char *promise_of(enum sim_mutant mutant)
{
    static const char *const promises[MUTANTS] = {
        [MUTANT_NONE] = "",
        [MUTANT_NO_QUARANTINE] = "S1:",
        [MUTANT_NO_FENCE] = "S1:",
        [MUTANT_WORST_CANDIDATE] = "S4: promoted",
        [MUTANT_RELEASE_BEFORE_STOP] = "S1:",
        [MUTANT_NO_CAS] = "S3:",
        [MUTANT_KEEPS_ID] = "S6:",
        [MUTANT_ADDS_FIRST] = "S6:",
        [MUTANT_NO_GATE] = "S2:",
        [MUTANT_NO_PROOF] = "S2:",
        [MUTANT_NO_FREEZE] = "S1:",
        [MUTANT_FREEZE_LATE] = "S1:",
        [MUTANT_THAW_ON_HELLO] = "S1:",
        [MUTANT_TRUST_GUARD] = "S1:",
        [MUTANT_NO_CONTINUE] = "L2:",
        [MUTANT_BOOTTIME_ALONE] = "S1:",
        [MUTANT_NO_MARKER] = "S5:",
        [MUTANT_DEMOTES] = "L2:",
        [MUTANT_NO_REJOIN] = "L1:",
        [MUTANT_DISARMS_FIRST] = "S1:",
        [MUTANT_TAKES_UNFENCED] = "S1:",
        [MUTANT_NO_REARM] = "S1:",
    };

    return promises[mutant];
}

static bool needs_sync(enum sim_mutant mutant)
{
    return mutant == MUTANT_NO_GATE || mutant == MUTANT_NO_PROOF;
}

/* What caught a mutant that few seeds catch is tried first. It is judged like any other, and when
 * the simulation has changed and it does not any more, the search finds the next. */
static const struct {
    enum sim_mutant mutant;
    uint64_t seed;
} kept[] = {
    {MUTANT_NO_GATE, 2937},
    {MUTANT_NO_FENCE, 332},
};

static bool catches(uint64_t seed, enum sim_mutant mutant, const struct sim_options *options)
{
    struct sim_stats stats = {0};

    running_seed = seed;
    if (sim_run(seed, options, &stats) ||
        strstr(checks_last_failure(), promise_of(mutant)) == NULL) {
        return false;
    }
    printf("mutant %-20s caught by seed %3llu: %s\n", sim_mutant_name(mutant),
           (unsigned long long)seed, checks_last_failure());
    return true;
}

static int run_mutant(const struct arguments *a, enum sim_mutant mutant)
{
    struct sim_options options = a->options;
    uint64_t end = a->first + a->n;

    options.mutant = mutant;
    if (needs_sync(mutant)) { /* What it breaks has to meet a crash within moments. */
        options.sync = true;
        end += 19 * a->n;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(kept); i++) {
        if (kept[i].mutant == mutant && catches(kept[i].seed, mutant, &options)) {
            return 0;
        }
    }
    for (uint64_t seed = a->first; seed < end; seed++) {
        if (catches(seed, mutant, &options)) {
            return 0;
        }
    }
    printf("FAILED: mutant %s lives through %llu seeds\n", sim_mutant_name(mutant),
           (unsigned long long)(end - a->first));
    return 1;
}

static int run_mutants(const struct arguments *a)
{
    int result = 0;

    for (unsigned m = MUTANT_NONE + 1; m < MUTANTS; m++) {
        if (m % a->n_shares == a->share) {
            result |= run_mutant(a, (enum sim_mutant)m);
        }
        (void)fflush(stdout);
    }
    return result;
}

int main(int argc, char **argv)
{
    struct arguments a;

    (void)argc;
    if (!parse(argv, &a)) {
        return 2;
    }
    (void)signal(SIGABRT, on_abort);
    if (a.trace) {
        trace_set(TRACE_ALL);
    }
    if (a.mutants) {
        return run_mutants(&a);
    }
    return a.options.mutant != MUTANT_NONE ? run_mutant(&a, a.options.mutant) : run_seeds(&a);
}
