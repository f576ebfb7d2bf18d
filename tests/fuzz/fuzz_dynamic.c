/*
 * Dynamic configuration as JSON: from the store, or from PATCH /config.
 */
#include "fuzz.h"

#include "conf/conf.h"

static void on_warning(void *data, const char *text)
{
    (void)data;
    REQUIRE(text[0] != '\0');
}

/* What a change makes can be read, and is what it is: an empty one leaves it alone. */
static void check_change(const char *current, const char *body, bool replace)
{
    struct err err = {""};
    struct conf_dynamic d;
    char *text = conf_dynamic_change(current, body, replace, on_warning, NULL, &err);
    char *again;

    if (text == NULL) {
        REQUIRE(err.text[0] != '\0');
        return;
    }
    REQUIRE(conf_dynamic_parse(text, &d, on_warning, NULL, &err) == 0);
    conf_dynamic_deinit(&d);
    again = conf_dynamic_change(text, "{}", false, on_warning, NULL, &err);
    REQUIRE(again != NULL && strcmp(again, text) == 0);
    free(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmalloc(size + 1);
    struct err err = {""};
    struct conf_dynamic d;

    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    if (conf_dynamic_parse(text, &d, on_warning, NULL, &err) == 0) {
        REQUIRE(d.ttl_ms >= 1000 && d.loop_wait_ms > 0 && d.retry_timeout_ms > 0);
        REQUIRE(d.loop_wait_ms + 2 * d.retry_timeout_ms <= d.ttl_ms || d.loop_wait_ms <= 1000);
        conf_dynamic_deinit(&d);
    } else {
        REQUIRE(err.text[0] != '\0');
    }
    check_change("{\"ttl\":\"5\",\"slots\":{\"a\":null},\"postgresql\":{\"parameters\":{\"a\":1}}}",
                 text, false);
    check_change("{}", text, true);
    free(text);
    return 0;
}
