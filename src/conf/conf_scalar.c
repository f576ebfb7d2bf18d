/*
 * Texts to values, see conf_scalar.h and conf.h. Nothing here uses the locale
 * or floating point, so that a value means the same on every machine.
 */
#include "conf/conf_scalar.h"

#include <strings.h>

#include "base/str.h"
#include "conf/conf.h"

#define DIGITS_MAX 12 /* Of the whole part of a duration. */

struct word {
    const char *text;
    bool value;
    bool yaml; /* YAML 1.1 readers take it for a boolean. */
};

static const struct word words[] = {
    {"true", true, true}, {"false", false, true}, {"on", true, true}, {"off", false, true},
    {"yes", true, true},  {"no", false, true},    {"y", true, false}, {"n", false, false},
    {"1", true, false},   {"0", false, false},
};

static const struct word *find_word(const char *text)
{
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcasecmp(text, words[i].text) == 0) {
            return &words[i];
        }
    }
    return NULL;
}

bool conf_parse_bool(const char *text, bool *ret_value)
{
    const struct word *word = find_word(text);

    if (word == NULL) {
        return false;
    }
    *ret_value = word->value;
    return true;
}

bool conf_is_bool_word(const char *text, bool *ret_value)
{
    const struct word *word = find_word(text);

    if (word == NULL || !word->yaml) {
        return false;
    }
    *ret_value = word->value;
    return true;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return 99;
}

/* Digits of the base, with _ between them, up to the end of the text or, when
 * ret_end is given, the first other character. */
static bool parse_digits(const char *text, int base, int64_t *ret_value, const char **ret_end)
{
    int64_t value = 0;
    const char *at = text;

    if (digit_of(*at) >= base) {
        return false;
    }
    for (; digit_of(*at) < base || (*at == '_' && digit_of(at[1]) < base); at++) {
        if (*at == '_') {
            continue;
        }
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit_of(*at), &value)) {
            return false;
        }
    }
    if (ret_end == NULL && *at != '\0') {
        return false;
    }
    if (ret_end != NULL) {
        *ret_end = at;
    }
    *ret_value = value;
    return true;
}

bool conf_parse_i64(const char *text, int64_t *ret_value)
{
    bool negative = text[0] == '-';
    const char *digits = negative || text[0] == '+' ? text + 1 : text;
    int64_t value;
    int base = 10;

    if (digits[0] == '0' && digits[1] == 'x') {
        base = 16;
        digits += 2;
    } else if (digits[0] == '0' && digits[1] == 'o') {
        base = 8;
        digits += 2;
    } else if (digits[0] == '0' && digits[1] != '\0') {
        base = 8;
    }
    if (!parse_digits(digits, base, &value, NULL)) {
        return false;
    }
    *ret_value = negative ? -value : value;
    return true;
}

bool conf_parse_bytes(const char *text, int64_t *ret_bytes)
{
    static const struct {
        const char *name;
        int64_t factor;
    } units[] = {
        {"B", 1},
        {"kB", INT64_C(1) << 10},
        {"MB", INT64_C(1) << 20},
        {"GB", INT64_C(1) << 30},
        {"TB", INT64_C(1) << 40},
    };
    const char *unit;
    int64_t value;

    if (conf_parse_i64(text, ret_bytes)) {
        return true;
    }
    if (!parse_digits(text, 10, &value, &unit)) {
        return false;
    }
    unit += strspn(unit, " ");
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcasecmp(unit, units[i].name) == 0) {
            return !__builtin_mul_overflow(value, units[i].factor, ret_bytes);
        }
    }
    return false;
}

/* The fraction behind the point, as millionths; further digits are cut. */
static const char *parse_fraction(const char *at, uint64_t *ret_millionths)
{
    uint64_t scale = 100000;
    uint64_t value = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        value += scale * (uint64_t)(*at - '0');
        scale /= 10;
    }
    *ret_millionths = value;
    return at;
}

bool conf_parse_duration_ms(const char *text, uint64_t *ret_ms)
{
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {
        {"", SECONDS(1)},  {"ms", 1},       {"s", SECONDS(1)}, {"min", MINUTES(1)},
        {"m", MINUTES(1)}, {"h", HOURS(1)}, {"d", HOURS(24)},
    };
    size_t n_digits = strspn(text, "0123456789");
    const char *at = text + n_digits;
    uint64_t millionths = 0;
    uint64_t whole = 0;

    if ((n_digits == 0 && at[0] != '.') || n_digits > DIGITS_MAX) {
        return false; /* .5 is a number of YAML. */
    }
    for (size_t i = 0; i < n_digits; i++) {
        whole = whole * 10 + (uint64_t)(text[i] - '0');
    }
    if (at[0] == '.' && at[1] >= '0' && at[1] <= '9') {
        at = parse_fraction(at + 1, &millionths);
    } else if (n_digits == 0) {
        return false;
    }
    at += strspn(at, " ");
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcasecmp(at, units[i].name) == 0) {
            return !__builtin_mul_overflow(whole, units[i].ms, ret_ms) &&
                   !__builtin_add_overflow(*ret_ms, millionths * units[i].ms / 1000000, ret_ms);
        }
    }
    return false;
}

/* The end of the host, at the colon before the port; NULL when there is none. */
static const char *find_colon(const char *text)
{
    if (text[0] == '[') {
        const char *bracket = strchr(text, ']');

        return bracket != NULL && bracket[1] == ':' ? bracket + 1 : NULL;
    }
    return strchr(text, ':');
}

bool conf_split_address(const char *text, char *host, size_t host_size, uint16_t *ret_port)
{
    const char *colon = find_colon(text);
    const char *start = text;
    size_t length;
    uint64_t port;

    if (colon == NULL || !str_to_u64(colon + 1, 1, UINT16_MAX, &port)) {
        return false; /* A second colon ends up here: an IPv6 address needs brackets. */
    }
    length = (size_t)(colon - text);
    if (text[0] == '[') {
        start++;
        length -= 2;
    }
    if (length == 0 || length >= host_size || memchr(start, ' ', length) != NULL ||
        memchr(start, '/', length) != NULL || memchr(start, '[', length) != NULL ||
        memchr(start, ']', length) != NULL) {
        return false; /* Brackets are around, not in it. */
    }
    memcpy(host, start, length);
    host[length] = '\0';
    *ret_port = (uint16_t)port;
    return true;
}

bool conf_is_loopback(const char *address)
{
    char host[256];
    uint16_t port;

    return conf_split_address(address, host, sizeof(host), &port) &&
           (strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
            strncmp(host, "127.", 4) == 0);
}
