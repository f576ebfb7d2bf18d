/*
 * cmocka 2 has two assertions in the place of assert_in_range, and cmocka 1 has
 * neither of them: ours goes with both.
 */
#ifndef TEST_BETWEEN_H
#define TEST_BETWEEN_H

#define assert_between(value, low, high)                                                 \
    do {                                                                                 \
        unsigned long long value_ = (unsigned long long)(value);                         \
        if (value_ < (unsigned long long)(low) || value_ > (unsigned long long)(high)) { \
            fail_msg("%s is %llu, not in " #low " to " #high, #value, value_);           \
        }                                                                                \
    } while (0)

#endif
