/*
 * The lease as a model for spin: every history of a small world. README.md says
 * what is abstracted and why that hides nothing, and what run.sh does with it.
 *
 * One process picks the next event: a step of one voter, of one owner, of the
 * log, or of time. All state is in the globals below. A configuration defines
 * some of
 *   RELEASE  owners have a PostgreSQL and a guard; freeze, thaw, kill, release
 *   SETS     the voter set grows and shrinks while owners do not hear of it
 *   TTLS     the ttl in the store is raised and lowered
 *   SLEW     BOOTTIME of every node runs at 0 to 2 times its rate
 *   SUSPEND  owners are suspended: their RAW stops, their BOOTTIME does not
 *   BACK     with SETS: the voters that came go, not those that were there first
 *   LEVEL    with SETS: voters that have not applied what is before their last set but one refuse
 *   PLAIN    without the reductions that README.md names
 * and the numbers here. MUTANT_x breaks one rule, REACH_x asks for a sight.
 */
#ifndef VOTERS
#define VOTERS 3
#endif
#ifndef EPOCHS
#define EPOCHS 3 /* Epoch e has an owner of its own, so this is take-overs + 1. */
#endif
#ifndef TTL
#define TTL 2 /* In ticks; the longest with TTLS. */
#endif
#ifndef REBOOTS
#define REBOOTS 1 /* Of each voter, */
#endif
#ifndef REBOOTS_ALL
#define REBOOTS_ALL (VOTERS * REBOOTS) /* and of all together. */
#endif

/* Rounds of an owner by age: begun in this tick, one tick ago, ... A lease of a
 * round as old as the ttl would be over. The mutant keeps answers to older ones. */
#ifdef MUTANT_UNKNOWN_ROUND
#define AGES (TTL + 1)
#else
#define AGES TTL
#endif
#define SLOT(e, a) (((e) - 1) * AGES + (a))
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define LESS(a, b) ((a) > (b) -> (a) - (b) : 0)

typedef voter {
    byte promise; /* Epoch of its live promise, or 0. */
    byte until;   /* Ticks until that is over. */
    byte highest; /* Highest epoch it applied or promised to. */
    byte silent;  /* Ticks of quarantine left. */
    byte need;    /* To have applied before the quarantine is over: epochs. */
    byte reboots;
    byte grant[EPOCHS * AGES]; /* By SLOT, answers on their way: what was granted. */
#ifdef RELEASE
    bit released; /* It applied the release of `highest`. */
#endif
#ifdef SETS
    byte log; /* Newest voter set in its log. */
#endif
#ifdef TTLS
    byte applied;  /* How far it applied the changes of the ttl. */
    byte floor;    /* The longest grant its identity file allows. */
    byte lowering; /* Ticks until that may be less, plus 1; 0: it need not. */
#endif
#ifdef SLEW
    byte until_boot; /* As until and silent, on the other clock. */
    byte silent_boot;
#endif
};

voter v[VOTERS];
byte left[EPOCHS + 1]; /* Ticks of the lease of each epoch's owner. */
byte committed = 1;    /* Newest epoch in the log. */
byte held;             /* Highest epoch that ever held a lease. */
byte reboots;
byte gained; /* The epoch whose owner may count a round more by this event. */
#ifdef REACH_ALL
byte takeovers;
bit overtaken; /* A newer round by an older one of the same owner. */
#endif
#if defined(SLEW) || defined(SUSPEND)
byte left_boot[EPOCHS + 1];      /* As left, on BOOTTIME. */
byte age_raw[EPOCHS * AGES];     /* Ticks since rounds were begun, */
byte age_boot[EPOCHS * AGES];    /* on the clocks of their owners. */
byte pace_voter[VOTERS];         /* Scratch: how far BOOTTIME goes in this tick, */
byte pace_boot[EPOCHS + 1];      /* for owners too, */
byte pace_raw[EPOCHS + 1];       /* and RAW. */
#endif
#ifdef RELEASE
mtype = { OFF, RUNS, FROZEN };
mtype pg[EPOCHS + 1] = OFF;   /* PostgreSQL of each owner. */
byte guarded[EPOCHS + 1];     /* Ticks left as its guard was told. */
byte stage[EPOCHS + 1];       /* Of its release. */
#define GUARD_CLOSED 1
#define ROUNDS_DROPPED 2
#define RELEASE_COMMITTED 3
byte n_thaws;                 /* 1: there was one. Only counted if asked for. */
#endif
#ifdef SETS
byte newest;             /* Newest voter set in the leader's log. */
bit is_committed = 1;    /* It. All older ones are. */
byte wait;               /* Ticks until the next change may be proposed. */
#ifdef LEVEL
byte before;             /* Newest voter set in the log before epoch 2. */
#endif
byte known[EPOCHS + 1];  /* Newest committed set that each owner has heard of. */
#endif
#ifdef TTLS
byte changes; /* Of the ttl, committed. */
#endif

#ifdef SETS
#ifndef FIRST
#define FIRST 0
#endif
#ifndef LAST_SET
#define LAST_SET 4
#endif
#endif

/* Scratch of one event, no part of a state. (spin can not hide it from a search by
 * breadth, so it is left 0.) */
#ifdef BREADTH
#define SCRATCH
#else
#define SCRATCH hidden
#endif
SCRATCH byte i, k, n, age;
#ifdef SETS
SCRATCH byte names, n_votes, enough;
#endif
SCRATCH int key_x, key_y;

/* ---- Time ---------------------------------------------------------------- */

#ifdef SLEW
#ifdef MUTANT_BOOTTIME_ALONE
#define PROMISE_ENDED(j) (v[j].until_boot == 0)
#define IS_SILENT(j) (v[j].silent_boot > 0)
#else
#define PROMISE_ENDED(j) (v[j].until == 0 && v[j].until_boot == 0)
#define IS_SILENT(j) (v[j].silent > 0 || v[j].silent_boot > 0)
#endif
#else
#define PROMISE_ENDED(j) (v[j].until == 0)
#define IS_SILENT(j) (v[j].silent > 0)
#endif

#if defined(SLEW) || defined(SUSPEND)
#if defined(MUTANT_OWNER_BOOTTIME_ALONE)
#define LEFT(e) left_boot[e]
#elif defined(MUTANT_OWNER_RAW_ALONE)
#define LEFT(e) left[e]
#else
#define LEFT(e) MIN(left[e], left_boot[e])
#endif
#define LEFT_RAW_OF(e, a, d) LESS(d, age_raw[SLOT(e, a)])
#define LEFT_BOOT_OF(e, a, d) LESS(d, age_boot[SLOT(e, a)])
#if defined(MUTANT_OWNER_BOOTTIME_ALONE)
#define LEFT_OF(e, a, d) LEFT_BOOT_OF(e, a, d)
#elif defined(MUTANT_OWNER_RAW_ALONE)
#define LEFT_OF(e, a, d) LEFT_RAW_OF(e, a, d)
#else
#define LEFT_OF(e, a, d) MIN(LEFT_RAW_OF(e, a, d), LEFT_BOOT_OF(e, a, d))
#endif
#define GIVES_MORE(e, a, d) \
    (LEFT_OF(e, a, d) > 0 && \
     (LEFT_RAW_OF(e, a, d) > left[e] || LEFT_BOOT_OF(e, a, d) > left_boot[e]))
#else
#define LEFT(e) left[e]
#define LEFT_OF(e, a, d) LESS(d, a)
#define GIVES_MORE(e, a, d) (LEFT_OF(e, a, d) > LEFT(e))
#endif

/* What a voter says in answer to a round grows older with the round. */
inline age_rounds() {
    for (i : 0 .. VOTERS - 1) {
        for (k : 1 .. EPOCHS) {
#ifdef MUTANT_UNKNOWN_ROUND
            v[i].grant[SLOT(k, TTL)] = MAX(v[i].grant[SLOT(k, TTL)], v[i].grant[SLOT(k, TTL - 1)]);
#endif
            for (n : 1 .. TTL - 1) {
                v[i].grant[SLOT(k, TTL - n)] = v[i].grant[SLOT(k, TTL - n - 1)]
            }
            v[i].grant[SLOT(k, 0)] = 0
        }
    }
#if defined(SLEW) || defined(SUSPEND)
    for (k : 1 .. EPOCHS) {
        for (n : 1 .. TTL - 1) {
            age_raw[SLOT(k, TTL - n)] = MIN(TTL, age_raw[SLOT(k, TTL - n - 1)] + pace_raw[k]);
            age_boot[SLOT(k, TTL - n)] = MIN(TTL, age_boot[SLOT(k, TTL - n - 1)] + pace_boot[k])
        }
    }
#endif
    skip
}

inline age_voters() {
    for (i : 0 .. VOTERS - 1) {
        v[i].until = LESS(v[i].until, 1);
        v[i].silent = LESS(v[i].silent, 1);
#ifdef SLEW
        v[i].until_boot = LESS(v[i].until_boot, pace_voter[i]);
        v[i].silent_boot = LESS(v[i].silent_boot, pace_voter[i]);
#endif
#ifdef TTLS
        v[i].lowering = (v[i].lowering > 1 -> v[i].lowering - 1 : v[i].lowering);
#endif
        if
        :: PROMISE_ENDED(i) ->
            v[i].promise = 0;
            v[i].until = 0
        :: else
        fi
    }
    skip
}

inline age_owners() {
    for (i : 1 .. EPOCHS) {
#if defined(SLEW) || defined(SUSPEND)
        left[i] = LESS(left[i], pace_raw[i]);
        left_boot[i] = LESS(left_boot[i], pace_boot[i]);
        if
        :: LEFT(i) == 0 ->
            left[i] = 0;
            left_boot[i] = 0
        :: else
        fi
#else
        left[i] = LESS(left[i], 1)
#endif
#ifdef RELEASE
        ;
        guarded[i] = LESS(guarded[i], 1);
        if
        :: guarded[i] == 0 && pg[i] == RUNS -> pg[i] = FROZEN
        :: else
        fi
#endif
    }
    skip
}

/* How far each clock of each node goes in a tick. */
#ifdef SLEW
#define PICK_BOOT(pace) if :: pace = 0 :: pace = 1 :: pace = 2 fi
#define PICK_VOTER(j) \
    if \
    :: v[j].until_boot + v[j].silent_boot > 0 -> PICK_BOOT(pace_voter[j]) \
    :: else \
    fi
#define PICK_OWNER(e) PICK_BOOT(pace_boot[e]); pace_raw[e] = 1
#define PICK_VOTERS PICK_VOTER(0); PICK_VOTER(1); PICK_VOTER(2)
#elif defined(SUSPEND)
#define PICK_OWNER(e) if :: pace_raw[e] = 0 :: pace_raw[e] = 1 fi; pace_boot[e] = 1
#define PICK_VOTERS skip
#else
#define PICK_OWNER(e) skip
#define PICK_VOTERS skip
#endif
#if EPOCHS > 2
#define PICK_PACES PICK_VOTERS; PICK_OWNER(1); PICK_OWNER(2); PICK_OWNER(3)
#else
#define PICK_PACES PICK_VOTERS; PICK_OWNER(1); PICK_OWNER(2)
#endif

inline forget_paces() {
#if defined(SLEW) || defined(SUSPEND)
    for (i : 0 .. VOTERS - 1) {
        pace_voter[i] = 0
    }
    for (i : 1 .. EPOCHS) {
        pace_boot[i] = 0;
        pace_raw[i] = 0
    }
#endif
    skip
}

inline tick() {
    printf("> tick\n");
    age_rounds();
    age_voters();
    age_owners();
#ifdef SETS
    wait = LESS(wait, 1);
#endif
    forget_paces()
}

/* ---- Order of voters ------------------------------------------------------ */

#ifdef RELEASE
#define FIELDS_RELEASE(F) F(released, 2)
#else
#define FIELDS_RELEASE(F)
#endif
#ifdef TTLS
#define FIELDS_TTLS(F) F(applied, 4) F(floor, 4) F(lowering, 5)
#else
#define FIELDS_TTLS(F)
#endif
#ifdef SETS
#define FIELDS_SETS(F) F(log, 5)
#else
#define FIELDS_SETS(F)
#endif
#ifdef SLEW
#define FIELDS_SLEW(F) F(until_boot, 4) F(silent_boot, 4)
#else
#define FIELDS_SLEW(F)
#endif
#define FIELDS(F) \
    F(promise, 4) F(until, 4) F(highest, 4) F(silent, 4) F(need, 4) F(reboots, 3) \
    FIELDS_RELEASE(F) FIELDS_SETS(F) FIELDS_TTLS(F) FIELDS_SLEW(F)

#define WEIGH(f, size) key_x = key_x * size + v[x].f; key_y = key_y * size + v[y].f;
#define SWAP(f, size) k = v[x].f; v[x].f = v[y].f; v[y].f = k;

inline swap(x, y) {
    FIELDS(SWAP)
    for (i : 0 .. EPOCHS * AGES - 1) {
        SWAP(grant[i], 12)
    }
}

inline sort_pair(x, y) {
    key_x = 0;
    key_y = 0;
    FIELDS(WEIGH)
    for (i : 0 .. EPOCHS * AGES - 1) {
        WEIGH(grant[i], 12)
    }
    if
    :: key_x > key_y -> swap(x, y)
    :: else
    fi
}

/* ---- A voter ------------------------------------------------------------- */

#ifdef MUTANT_NO_CATCH_UP
#define IS_QUARANTINED(j) IS_SILENT(j)
#else
#define IS_QUARANTINED(j) (IS_SILENT(j) || v[j].highest < v[j].need)
#endif

#ifdef RELEASE
#define IS_RELEASED(j, e) (v[j].highest == e && v[j].released)
#else
#define IS_RELEASED(j, e) false
#endif

/* The last owner has done its part when it has had its lease: from then on any
 * sign of life of an older one fails. */
#define IS_DONE(e) ((e) == EPOCHS && held == EPOCHS)
#ifdef RELEASE
#define HAS_ROUNDS(e) (stage[e] < ROUNDS_DROPPED && !IS_DONE(e))
#else
#define HAS_ROUNDS(e) (!IS_DONE(e))
#endif

#ifdef SETS
/* Is it in a set that the owner could ask for? Else its promise only forbids. */
#define FIRST_SET(j) ((j) < 3 -> 0 : (j) - 2)
#ifdef BACK
#define LAST_SET_OF(j) ((j) < 3 -> 4 : 6 - (j))
#else
#define LAST_SET_OF(j) ((j) < 2 -> (j) + 2 : 4)
#endif
#define IS_OF_USE(j, e) (FIRST_SET(j) <= newest && LAST_SET_OF(j) >= known[e])
#else
#define IS_OF_USE(j, e) true
#endif

/* An epoch is committed at the latest when it is first used; README.md says why
 * earlier is of no interest. */
#ifdef PLAIN
#define IS_COMMITTED(e) (committed >= e)
#else
#define IS_COMMITTED(e) true
#endif

/* With LEVEL: it has logged a voter set, and not applied an epoch before it in the log:
 * then it has not applied the set either. Of two such sets it would have applied one. */
#if defined(LEVEL) && !defined(MUTANT_FAR_BEHIND)
#define IS_BEHIND(j) (v[j].highest < committed && v[j].log > before)
#define NAMES_ONE_BEFORE(j) (IS_BEHIND(j) && v[j].log == before + 1)
#define MAY_LOG(j, s) (v[j].highest == committed || (s) <= before + 1)
#else
#define NAMES_ONE_BEFORE(j) 0
#define MAY_LOG(j, s) true
#endif
#ifdef SETS
#define IS_FAR_BEHIND(j) (!MAY_LOG(j, v[j].log))
#else
#define IS_FAR_BEHIND(j) false
#endif

#define MAY_GRANT(j, e) \
    (IS_COMMITTED(e) && ((e) == EPOCHS || !IS_FAR_BEHIND(j)) && HAS_ROUNDS(e) && IS_OF_USE(j, e) && !IS_QUARANTINED(j) && e >= v[j].highest && !IS_RELEASED(j, e) && \
     (v[j].promise == 0 || v[j].promise == e))

/* How long it promises, and what it says, when asked for d. */
#ifdef TTLS
#define SHORT (TTL - 1)
#define TTL_AT(change) ((change) % 2 -> TTL : SHORT)
#ifdef MUTANT_UNWRITTEN
#define MAY_PROMISE(j) TTL_AT(v[j].applied)
#else
#define MAY_PROMISE(j) MIN(v[j].floor, TTL_AT(v[j].applied))
#endif
#ifdef MUTANT_OWN_TTL
#define PROMISED(j, d) MAY_PROMISE(j)
#define SAID(j, d) d
#else
#define PROMISED(j, d) MIN(d, MAY_PROMISE(j))
#define SAID(j, d) PROMISED(j, d)
#endif
#elif defined(SETS)
/* The set it names: its newest. More names would only ask for more majorities. With
 * LEVEL also the one before, if it can not have applied its newest. */
#define NAMES_TWO(said) ((said) % 2 == 0)
#define NEWEST_NAMED(said) (((said) - 1) / 2)
#define PROMISED(j, d) TTL
#define SAID(j, d) (1 + 2 * v[j].log + NAMES_ONE_BEFORE(j))
#else
#define PROMISED(j, d) TTL
#define SAID(j, d) TTL
#endif

#ifdef SLEW
#define BOOT_ENDS_EARLIER(j) (v[j].until_boot < TTL)
#else
#define BOOT_ENDS_EARLIER(j) false
#endif
#ifdef SETS
#define IS_BETTER(said, before) ((said) != (before))
#define GIVES(said) TTL
#else
#define IS_BETTER(said, before) ((said) > (before))
#define GIVES(said) (said)
#endif
#define IS_NEWS(j, e, a, d) \
    ((e < EPOCHS && (v[j].until < PROMISED(j, d) || BOOT_ENDS_EARLIER(j) || v[j].promise != e)) || \
     (IS_BETTER(SAID(j, d), v[j].grant[SLOT(e, a)]) && GIVES_MORE(e, a, GIVES(SAID(j, d)))))

inline know_epoch(j, e) {
#ifdef RELEASE
    v[j].released = (v[j].highest < e -> 0 : v[j].released);
#endif
    v[j].highest = MAX(v[j].highest, e);
    v[j].need = (v[j].highest < v[j].need -> v[j].need : 0)
}

/* What it has said to the round of that age, if it says this too. */
#ifdef SETS
#define SAYS_BOTH(before, said) (said) /* The old answer is lost. */
#else
#define SAYS_BOTH(before, said) MAX(before, said)
#endif

/* Of what rounds does it answer the renewals when it answers that of age a? Of all
 * that this may help: answers can be lost later, and the promise is the same. */
#ifdef PLAIN
#define ANSWERS(j, e, a, b) ((b) == (a))
#elif defined(SETS)
#define ANSWERS(j, e, a, b) ((b) == (a) || v[j].grant[SLOT(e, b)] == 0)
#else
#define ANSWERS(j, e, a, b) true
#endif

/* A renewal of epoch e, asking for d, is granted. */
inline renew(j, e, a, d) {
    printf("> voter %d grants epoch %d %d, rounds of %d ticks ago\n", j, e, SAID(j, d), a);
    for (n : 0 .. TTL - 1) {
        if
        :: ANSWERS(j, e, a, n) ->
            v[j].grant[SLOT(e, n)] = SAYS_BOTH(v[j].grant[SLOT(e, n)], SAID(j, d))
        :: else
        fi
    }
#ifdef LEVEL
    before = (committed < e -> newest : before);
#endif
    committed = MAX(committed, e);
    gained = e;
    v[j].until = MAX(v[j].until, PROMISED(j, d));
#ifdef SLEW
    v[j].until_boot = TTL;
#endif
    v[j].promise = e;
    know_epoch(j, e)
}

/* Knowing more only makes a voter refuse more, but it ends the quarantine. */
#ifdef APPLY_AT_ANY_TIME
#define APPLIES(j) (v[j].highest < committed)
#else
#define APPLIES(j) (v[j].highest < v[j].need)
#endif

inline apply_epoch(j) {
    printf("> voter %d applies epoch %d\n", j, v[j].highest + 1);
    know_epoch(j, v[j].highest + 1)
}

/* Without a good promise file: all it knew is gone but for its identity file. */
inline reboot(j) {
    printf("> voter %d reboots\n", j);
    v[j].reboots++;
    reboots++;
    v[j].promise = 0;
    v[j].until = 0;
    v[j].highest = 0;
    v[j].need = committed; /* What a barrier proposed after the start is behind. */
#ifdef MUTANT_NO_QUARANTINE
    v[j].silent = 0;
#elif defined(TTLS)
    v[j].silent = v[j].floor;
    v[j].applied = changes; /* By the end of the quarantine, since of the barrier. */
    v[j].lowering = (TTL_AT(changes) < v[j].floor -> v[j].floor + 1 : 0);
#else
    v[j].silent = TTL;
#endif
#ifdef SLEW
    v[j].until_boot = 0;
    v[j].silent_boot = v[j].silent;
#endif
#ifdef RELEASE
    v[j].released = 0;
#endif
    skip
}

/* ---- The ttl ------------------------------------------------------------- */

#ifdef TTLS
#ifndef CHANGES
#define CHANGES 2
#endif

inline apply_ttl(j) {
    v[j].applied++;
    printf("> voter %d applies ttl %d\n", j, TTL_AT(v[j].applied));
#ifdef MUTANT_LOWERED_AT_ONCE
    v[j].floor = MIN(v[j].floor, TTL_AT(v[j].applied));
#endif
    v[j].lowering = (TTL_AT(v[j].applied) < v[j].floor -> v[j].floor + 1 : 0)
}

inline write_longest(j) {
    printf("> voter %d has %d in its identity file\n", j, TTL_AT(v[j].applied));
    v[j].floor = TTL_AT(v[j].applied);
    v[j].lowering = 0
}

#define CHANGE_TTL \
    :: d_step { changes < CHANGES -> \
                changes++; printf("> ttl %d is committed\n", TTL_AT(changes)) }
#define TTL_OF(j) \
    :: d_step { v[j].applied < changes -> apply_ttl(j) } \
    :: d_step { TTL_AT(v[j].applied) > v[j].floor || v[j].lowering == 1 -> write_longest(j) }
#else
#define CHANGE_TTL
#define TTL_OF(j)
#endif

/* ---- An owner ------------------------------------------------------------ */

#ifdef MUTANT_UNKNOWN_ROUND
#define HAS(j, e, a, d) (v[j].grant[SLOT(e, a)] >= d || (a == 0 && v[j].grant[SLOT(e, TTL)] >= d))
#else
#define HAS(j, e, a, d) (v[j].grant[SLOT(e, a)] >= d)
#endif
#ifdef SETS
#define IN_AND_HAS(j, e, a) (IS_IN(j, known[e]) && HAS(j, e, a, 1))
/* Enough to try; names_enough() looks closer. */
#define HAS_MAJORITY(e, a, d) \
    (2 * (IN_AND_HAS(0, e, a) + IN_AND_HAS(1, e, a) + IN_AND_HAS(2, e, a) + \
          IN_AND_HAS(3, e, a) + IN_AND_HAS(4, e, a)) > SIZE_OF(known[e]))
#else
#define HAS_MAJORITY(e, a, d) (2 * (HAS(0, e, a, d) + HAS(1, e, a, d) + HAS(2, e, a, d)) > VOTERS)
#endif

#ifdef REACH_ALL
/* The epoch before had a lease; the older of two rounds in flight is the one that
 * counts, while the newer has an answer. */
inline note_complete(e, a) {
    takeovers = takeovers + (held > 0 && e > held);
    overtaken = overtaken ||
        (a > 0 && v[0].grant[SLOT(e, 0)] + v[1].grant[SLOT(e, 0)] + v[2].grant[SLOT(e, 0)] > 0)
}
#else
#define note_complete(e, a) skip
#endif

/* The round of epoch e begun a ticks ago counts, with d the smallest grant. On two
 * clocks the later end of each, which is more than an owner takes. */
inline complete(e, a, d) {
    printf("> owner of epoch %d counts its round of %d ticks ago\n", e, a);
#if defined(SLEW) || defined(SUSPEND)
    left[e] = MAX(left[e], LEFT_RAW_OF(e, a, d));
    left_boot[e] = MAX(left_boot[e], LEFT_BOOT_OF(e, a, d));
#else
    left[e] = LEFT_OF(e, a, d);
#endif
    note_complete(e, a);
    assert(held <= e); /* No round completes after a later epoch held a lease. */
    held = e
}


/* ---- Voter sets ---------------------------------------------------------- */

#ifdef SETS
/* By index: {0 1 2}, {0 1 2 3}, {0 1 2 3 4}, {1 2 3 4}, {2 3 4}, or back the same way;
 * as bits, five for each set. */
#ifdef BACK
#define SHRINKING (7 << 20 | 15 << 15)
#else
#define SHRINKING (28 << 20 | 30 << 15)
#endif
#define SET(s) (((SHRINKING | 31 << 10 | 15 << 5 | 7) >> (5 * (s))) & 31)
#define IS_IN(j, s) ((SET(s) >> (j)) & 1)
#define SIZE_OF(s) ((s) == 0 || (s) == 4 -> 3 : ((s) == 2 -> 5 : 4))

#define IS_NAMED(e, s) ((s) <= known[e] || (names >> (s)) & 1)
#define ARE_NAMED(e, said) \
    (IS_NAMED(e, NEWEST_NAMED(said)) && (!NAMES_TWO(said) || IS_NAMED(e, NEWEST_NAMED(said) - 1)))

/* Among the answers to a round, are there some, of voters that name only sets in
 * `names` (bits) or none newer than the owner knows, which have a majority in
 * each of `names` and in the one it knows? Sets `enough`. */
inline try_names(e, a) {
    enough = 1;
    for (k : known[e] .. LAST_SET) {
        n_votes = 0;
        for (i : 0 .. VOTERS - 1) {
            n_votes = n_votes + (IS_IN(i, k) && v[i].grant[SLOT(e, a)] > 0 &&
                                 ARE_NAMED(e, v[i].grant[SLOT(e, a)]))
        }
        if
        :: (k == known[e] || IS_NAMED(e, k)) && 2 * n_votes <= SIZE_OF(k) -> enough = 0
        :: else
        fi
    }
    skip
}
inline complete_sets(e, a) {
#ifdef MUTANT_OWN_SET
    enough = 1;
#else
    enough = 0;
    names = 0;
    do
    :: !enough && names < 32 -> try_names(e, a); names++
    :: else -> break
    od;
#endif
    if
    :: enough -> complete(e, a, TTL)
    :: else
    fi
}

#define COUNT_SETS(e, a, d) complete_sets(e, a)
#else
#define COUNT_SETS(e, a, d) complete(e, a, d)
#endif
#define MAY_COUNT(e, a, d) (HAS_ROUNDS(e) && GIVES_MORE(e, a, d) && HAS_MAJORITY(e, a, d))

inline count_round(e, a, d) {
    if
    :: MAY_COUNT(e, a, d) -> COUNT_SETS(e, a, d)
    :: else
    fi
}

/* An owner counts a round as soon as it can: README.md says why later is of no
 * interest. Only one that has an answer more, or knows a set more, can. */
inline count_rounds() {
#ifndef PLAIN
    if
    :: gained > 0 ->
        for (age : 0 .. TTL - 1) {
            count_round(gained, age, TTL)
#ifdef TTLS
            ;
            count_round(gained, age, SHORT)
#endif
        }
    :: else
    fi;
#endif
    gained = 0
}

#ifdef SETS
inline hear_at_once() {
#ifndef HEARS_LATE
    known[2] = newest;
    gained = 2
#else
    skip
#endif
}

/* Names of sets that the owner knows, or knows newer ones of, ask for nothing.
 * And what a voter's log is behind matters to those who do not hear, and they get
 * no more from a voter that knows the last epoch. */
inline forget_names() {
    for (i : 0 .. VOTERS - 1) {
        for (k : 1 .. EPOCHS) {
            for (n : 0 .. TTL - 1) {
                key_x = v[i].grant[SLOT(k, n)];
                if
                :: key_x == 0 -> skip
                :: else ->
                    if
                    :: NEWEST_NAMED(key_x) <= known[k] -> v[i].grant[SLOT(k, n)] = 1 + 2 * known[k]
                    :: NEWEST_NAMED(key_x) == known[k] + 1 ->
                        v[i].grant[SLOT(k, n)] = 1 + 2 * NEWEST_NAMED(key_x)
                    :: else
                    fi
                fi
            }
        }
#ifndef HEARS_LATE
        if
        :: v[i].highest == EPOCHS && v[i].log < newest ->
            v[i].log = (is_committed -> newest : newest - 1)
        :: else
        fi
#endif
    }
    skip
}

/* Could the owner of epoch 1 have a lease again? Who knows epoch 2 grants it no more,
 * and nobody forgets it here: no reboots. */
#define IS_FOR_FIRST(j) (IS_IN(j, known[1]) && (v[j].highest == 1 || HAS_ANSWERED_FIRST(j)))
#if TTL == 1
#define HAS_ANSWERED_FIRST(j) (v[j].grant[SLOT(1, 0)] > 0)
#else
#define HAS_ANSWERED_FIRST(j) (v[j].grant[SLOT(1, 0)] + v[j].grant[SLOT(1, 1)] > 0)
#endif
#define IS_OVER \
    (left[1] == 0 && 2 * (IS_FOR_FIRST(0) + IS_FOR_FIRST(1) + IS_FOR_FIRST(2) + \
                          IS_FOR_FIRST(3) + IS_FOR_FIRST(4)) <= SIZE_OF(known[1]))

/* With no lease of epoch 1 ever after, nothing can go wrong: one state for all that. */
inline end_if_over() {
#ifndef PLAIN
    if
    :: IS_OVER ->
        for (i : 0 .. VOTERS - 1) {
            v[i].promise = 0;
            v[i].until = 0;
            v[i].highest = EPOCHS;
            v[i].log = LAST_SET;
            for (n : 0 .. EPOCHS * AGES - 1) {
                v[i].grant[n] = 0
            }
        }
        committed = EPOCHS;
        held = EPOCHS;
        newest = LAST_SET;
        is_committed = 1;
        wait = 0;
#ifdef LEVEL
        before = 0;
#endif
        known[2] = LAST_SET
    :: else
    fi;
#endif
    skip
}

#define HAS_LOGGED(j) (IS_IN(j, newest) && v[j].log == newest)
#define IS_LOGGED \
    (2 * (HAS_LOGGED(0) + HAS_LOGGED(1) + HAS_LOGGED(2) + HAS_LOGGED(3) + HAS_LOGGED(4)) > \
     SIZE_OF(newest))
#ifdef MUTANT_HASTE
#define HAS_WAITED true
#else
#define HAS_WAITED (wait == 0)
#endif
#define MAY_PROPOSE (newest < LAST_SET && is_committed && HAS_WAITED)
inline propose() {
    newest++;
    is_committed = 0;
    printf("> voter set %d is proposed\n", newest)
}

inline log_set(j, s) {
    printf("> voter %d logs voter set %d\n", j, s);
    v[j].log = s
}

/* An owner that hears at once knows all there is but what is not committed, and a voter
 * that has not logged this is of more use to it. */
#ifdef HEARS_LATE
#define NAMES_MATTER(e) true
#define HEAR \
    :: d_step { known[2] < newest - !is_committed -> \
                known[2]++; gained = 2; printf("> owner of epoch 2 hears of voter set %d\n", known[2]) }
#else
#define NAMES_MATTER(e) ((e) == 1)
#define HEAR
#endif
/* Until the set after it is proposed, a voter of the first set is as any other: which
 * of them goes is chosen then, and it becomes number 0, the next number 1. */
#ifdef BACK
#define PROPOSE :: d_step { MAY_PROPOSE -> propose() }
#define LAST_MAJORITIES COMMIT_TWO(0, 1) COMMIT_TWO(0, 2) COMMIT_TWO(1, 2)
#else
#define PROPOSE \
    :: d_step { MAY_PROPOSE -> propose() } \
    :: d_step { MAY_PROPOSE && newest == 2 -> swap(0, 1); propose() } \
    :: d_step { MAY_PROPOSE && newest == 2 -> swap(0, 2); propose() } \
    :: d_step { MAY_PROPOSE && newest == 3 -> swap(1, 2); propose() }
#define LAST_MAJORITIES COMMIT_TWO(2, 3) COMMIT_TWO(2, 4) COMMIT_TWO(3, 4)
#endif

inline commit_set() {
    is_committed = 1;
    wait = TTL;
    hear_at_once();
    printf("> voter set %d is committed\n", newest)
}

#ifdef PLAIN
#define CHANGE_SETS PROPOSE :: d_step { !is_committed && IS_LOGGED -> commit_set() } HEAR
#define SET_OF(j) :: d_step { v[j].log < newest -> log_set(j, v[j].log + 1) }
#define LOG_AND_RENEW(j, e, a)
#else
/* A voter logs a set, and all before it, when it makes a difference: when it is one
 * of a majority that commits it, or when it names it. */
#define COMMIT_TWO(x, y) \
    :: d_step { !is_committed && SIZE_OF(newest) == 3 && IS_IN(x, newest) && IS_IN(y, newest) -> \
                log_set(x, newest); log_set(y, newest); commit_set() }
#define COMMIT_THREE(x, y, z) \
    :: d_step { !is_committed && SIZE_OF(newest) > 3 && \
                IS_IN(x, newest) && IS_IN(y, newest) && IS_IN(z, newest) -> \
                log_set(x, newest); log_set(y, newest); log_set(z, newest); commit_set() }
#define CHANGE_SETS \
    PROPOSE \
    LAST_MAJORITIES \
    COMMIT_THREE(0, 1, 2) COMMIT_THREE(0, 1, 3) COMMIT_THREE(0, 1, 4) COMMIT_THREE(0, 2, 3) \
    COMMIT_THREE(0, 2, 4) COMMIT_THREE(0, 3, 4) COMMIT_THREE(1, 2, 3) COMMIT_THREE(1, 2, 4) \
    COMMIT_THREE(1, 3, 4) COMMIT_THREE(2, 3, 4) \
    HEAR
#define SET_OF(j)
#define LOG_AND_RENEW_ONE(j, e, a, s) \
    :: d_step { v[j].log < (s) && (s) <= newest && NAMES_MATTER(e) && MAY_GRANT(j, e) && \
                MAY_LOG(j, s) && GIVES_MORE(e, a, TTL) -> \
                log_set(j, s); renew(j, e, a, TTL) }
#define LOG_AND_RENEW(j, e, a) \
    LOG_AND_RENEW_ONE(j, e, a, 1) LOG_AND_RENEW_ONE(j, e, a, 2) \
    LOG_AND_RENEW_ONE(j, e, a, 3) LOG_AND_RENEW_ONE(j, e, a, 4)
#endif
#else
#define CHANGE_SETS
#define SET_OF(j)
#define LOG_AND_RENEW(j, e, a)
#endif

/* ---- PostgreSQL, its guard, and release ----------------------------------- */

#ifdef RELEASE
/* The agent tells the guard its deadline; later and less is as good. */
#define TELL(e) \
    :: d_step { stage[e] < GUARD_CLOSED && LEFT(e) > guarded[e] -> \
                printf("> guard of epoch %d is told\n", e); guarded[e] = LEFT(e) }
#define START(e) \
    :: d_step { stage[e] < GUARD_CLOSED && guarded[e] > 0 && pg[e] == OFF -> \
                printf("> owner of epoch %d starts\n", e); pg[e] = RUNS }
#ifdef MUTANT_THAW_LATE
#define MAY_THAW(e) true
#else
#define MAY_THAW(e) (stage[e] < GUARD_CLOSED && guarded[e] > 0)
#endif
#ifdef REACH_THAW
#define COUNT_THAW n_thaws = 1
#else
#define COUNT_THAW skip
#endif
#define THAW(e) \
    :: d_step { pg[e] == FROZEN && MAY_THAW(e) -> \
                printf("> guard of epoch %d thaws\n", e); pg[e] = RUNS; COUNT_THAW }
#define KILL(e) \
    :: d_step { pg[e] != OFF -> printf("> guard of epoch %d kills\n", e); pg[e] = OFF }
#ifdef MUTANT_RELEASE_BEFORE_STOP
#define MAY_CLOSE(e) true
#define STILL_GUARDED(e) guarded[e]
#else
#define MAY_CLOSE(e) (pg[e] == OFF)
#define STILL_GUARDED(e) 0
#endif
#define CLOSE(e) \
    :: d_step { stage[e] < GUARD_CLOSED && MAY_CLOSE(e) -> \
                printf("> guard of epoch %d closes it\n", e); \
                stage[e] = GUARD_CLOSED; guarded[e] = STILL_GUARDED(e) }
#define DROP(e) \
    :: d_step { stage[e] == GUARD_CLOSED -> \
                printf("> owner of epoch %d drops its rounds\n", e); \
                stage[e] = ROUNDS_DROPPED; left[e] = 0 }
#define COMMIT_RELEASE(e) \
    :: d_step { stage[e] == ROUNDS_DROPPED && committed == e -> \
                printf("> release of epoch %d is committed\n", e); stage[e] = RELEASE_COMMITTED }
#define PG(e) TELL(e) START(e) THAW(e) KILL(e) CLOSE(e) DROP(e) COMMIT_RELEASE(e)

/* In the order of the log: before any later epoch. The voter beside the owner does it
 * before the release is proposed; here any may. */
#define MAY_APPLY_RELEASE(j) (stage[v[j].highest] >= ROUNDS_DROPPED && !v[j].released)
#define MUST_APPLY_RELEASE(j) (stage[v[j].highest] == RELEASE_COMMITTED && !v[j].released)
#define APPLY_RELEASE(j) :: d_step { MAY_APPLY_RELEASE(j) -> apply_release(j) }

inline apply_release(j) {
    printf("> voter %d applies the release of epoch %d\n", j, v[j].highest);
    v[j].released = 1;
    if
    :: v[j].promise == v[j].highest -> v[j].promise = 0; v[j].until = 0
    :: else
    fi
}
#else
#define PG(e)
#define MUST_APPLY_RELEASE(j) false
#define APPLY_RELEASE(j)
#endif

/* ---- What is checked, and what must be reachable ------------------------- */

inline check() {
    n = 0;
    for (i : 1 .. EPOCHS) {
#ifdef RELEASE
        n = n + (LEFT(i) > 0 || pg[i] == RUNS);
        assert(pg[i] != RUNS || held <= i)
#else
        n = n + (LEFT(i) > 0)
#endif
    }
    assert(n <= 1); /* No two live leases, and no two that write. */
}

inline check_reach() {
#ifdef REACH_TAKEOVERS
    assert(held < EPOCHS);
#endif
#ifdef REACH_REBOOTS
    assert(reboots < REBOOTS_ALL || LEFT(EPOCHS) == 0);
#endif
#ifdef REACH_ROUNDS
    assert(held < EPOCHS || v[0].grant[SLOT(EPOCHS, 0)] == 0 || v[0].grant[SLOT(EPOCHS, TTL - 1)] == 0);
#endif
#ifdef REACH_ALL
    assert(takeovers < EPOCHS - 1 || reboots < REBOOTS_ALL || !overtaken);
#endif
#ifdef REACH_RELEASE
    /* The next epoch is held while a voter's promise to a released one would run. */
    assert(held < EPOCHS || stage[EPOCHS - 1] < RELEASE_COMMITTED || 
           v[VOTERS - 1].promise != EPOCHS - 1);
#endif
#ifdef REACH_TTL
    assert(held < EPOCHS || v[0].applied < CHANGES || v[0].floor > SHORT || v[0].reboots == 0);
#endif
#ifdef REACH_LONG
    assert(LEFT(1) < TTL);
#endif
#ifdef REACH_SLEW
    /* A promise that one clock keeps longer than the other, and a next lease. */
    assert(LEFT(EPOCHS) == 0 || v[VOTERS - 1].promise == 0 || v[VOTERS - 1].until > 0);
#endif
#ifdef REACH_SUSPEND
    assert(LEFT(1) == 0 || left_boot[1] >= left[1]); /* Live, and was suspended. */
#endif
#ifdef REACH_DEAF
    assert(LEFT(1) == 0 || newest < LAST_SET || !is_committed);
#endif
#ifdef REACH_HEARS
    assert(LEFT(EPOCHS) == 0 || newest < LAST_SET || !is_committed);
#endif
#ifdef REACH_THAW
    assert(n_thaws == 0);
#endif
    skip
}

/* An answer to a round that can give its owner no more than it has is forgotten,
 * since this stays so. */
#define IS_USEFUL(j, e, a) \
    (HAS_ROUNDS(e) && GIVES_MORE(e, a, GIVES(v[j].grant[SLOT(e, a)])))

inline forget_useless() {
    for (i : 0 .. VOTERS - 1) {
        for (k : 1 .. EPOCHS) {
            for (n : 0 .. TTL - 1) {
                if
                :: !IS_USEFUL(i, k, n) -> v[i].grant[SLOT(k, n)] = 0
                :: else
                fi
            }
        }
    }
    skip
}

/* A promise only forbids other epochs. To the last one it forbids what `highest`
 * does; when the last owner has done its part, also that of the one before. */
#define FORBIDS(j) \
    ((v[j].promise < EPOCHS && !IS_DONE(EPOCHS)) || \
     (v[j].promise < EPOCHS - 1 && v[j].highest < EPOCHS))

inline forget_promises() {
    for (i : 0 .. VOTERS - 1) {
        if
        :: !FORBIDS(i) ->
            v[i].promise = 0;
            v[i].until = 0;
#ifdef SLEW
            v[i].until_boot = 0
#endif
        :: else
        fi
    }
    skip
}

inline forget_last() {
    if
    :: held == EPOCHS ->
        left[EPOCHS] = 0;
#if defined(SLEW) || defined(SUSPEND)
        left_boot[EPOCHS] = 0
#endif
    :: else
    fi;
    skip
}

/* Voters that are alike: of states that differ in their order only, one is kept. */
inline sort_three(x, y, z) {
    sort_pair(x, y);
    sort_pair(y, z);
    sort_pair(x, y)
}

inline sort() {
#ifndef SETS
    sort_three(0, 1, 2)
#elif FIRST == 2
    sort_three(2, 3, 4)
#elif defined(BACK)
    sort_three(0, 1, 2)
#else
    if
    :: newest <= 2 -> sort_three(0, 1, 2)
    :: newest == 3 -> sort_pair(1, 2)
    :: else
    fi
#endif
}

inline settle() {
    count_rounds();
    check();
    check_reach();
#ifndef MUTANT_UNKNOWN_ROUND
    forget_useless();
#endif
    forget_promises();
    forget_last();
#ifdef SETS
    forget_names();
    end_if_over();
#endif
    sort();
    i = 0;
    k = 0;
    n = 0;
    age = 0;
#ifdef SETS
    names = 0;
    n_votes = 0;
    enough = 0;
#endif
    key_x = 0;
    key_y = 0
}

/* ---- The world ----------------------------------------------------------- */

#define RENEW(j, e, a, d) \
    :: d_step { MAY_GRANT(j, e) && IS_NEWS(j, e, a, d) -> renew(j, e, a, d) } \
    LOG_AND_RENEW(j, e, a)
#ifdef PLAIN
#define COMPLETE(e, a, d) :: d_step { MAY_COUNT(e, a, d) -> COUNT_SETS(e, a, d) }
#define COMMIT \
    :: d_step { committed < EPOCHS -> committed++; printf("> epoch %d is committed\n", committed) }
#else
#define COMPLETE(e, a, d)
#define COMMIT
#endif
#define VOTER(j) \
    :: d_step { v[j].reboots < REBOOTS && reboots < REBOOTS_ALL -> reboot(j) } \
    :: d_step { APPLIES(j) && !MUST_APPLY_RELEASE(j) -> apply_epoch(j) } \
    APPLY_RELEASE(j) TTL_OF(j) SET_OF(j)

#define ASK_THREE(e, a, d) RENEW(0, e, a, d) RENEW(1, e, a, d) RENEW(2, e, a, d) COMPLETE(e, a, d)
#if VOTERS > 3
#define ASK(e, a, d) ASK_THREE(e, a, d) RENEW(3, e, a, d) RENEW(4, e, a, d)
#else
#define ASK(e, a, d) ASK_THREE(e, a, d)
#endif
#ifdef TTLS
#define ROUND(e, a) ASK(e, a, TTL) ASK(e, a, SHORT)
#else
#define ROUND(e, a) ASK(e, a, TTL)
#endif
#if TTL == 1 || !(defined(PLAIN) || defined(SETS)) /* One answers all. */
#define OWNER(e) ROUND(e, 0)
#elif TTL == 2
#define OWNER(e) ROUND(e, 0) ROUND(e, 1)
#elif TTL == 3
#define OWNER(e) ROUND(e, 0) ROUND(e, 1) ROUND(e, 2)
#endif

active proctype world() {
    d_step {
        for (i : 0 .. VOTERS - 1) {
            v[i].highest = 1;
#ifdef TTLS
            v[i].floor = SHORT
#endif
        }
        i = 0;
#ifdef SETS
        newest = FIRST;
        for (i : 0 .. VOTERS - 1) {
            v[i].log = FIRST
        }
        for (i : 1 .. EPOCHS) {
            known[i] = FIRST
        }
        i = 0
#endif
    }
    do
    :: atomic {
        if
        :: PICK_PACES; d_step { tick() }
        COMMIT
        CHANGE_TTL
        CHANGE_SETS
        OWNER(1)
        OWNER(2)
        PG(1)
#if EPOCHS > 2
        OWNER(3)
        PG(2)
#endif
        VOTER(0)
        VOTER(1)
        VOTER(2)
#if VOTERS > 3
        VOTER(3)
        VOTER(4)
#endif
        fi;
        d_step { settle() }
    }
    od
}
