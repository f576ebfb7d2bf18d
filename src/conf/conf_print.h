/* How a text is written so that YAML reads it back the same. Private to src/conf. */
#ifndef VECHE_CONF_CONF_PRINT_H
#define VECHE_CONF_CONF_PRINT_H

#include "base/base.h"

void conf_print_text(const char *text, FILE *out);

#endif
