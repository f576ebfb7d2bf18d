/* What both references say of a row (conf_reference.c, conf_manual.c). Private to src/conf. */
#ifndef VECHE_CONF_CONF_REFERENCE_H
#define VECHE_CONF_CONF_REFERENCE_H

#include "conf/conf_schema.h"

const char *conf_reference_type(const struct conf_row *row);      /* "duration" */
void conf_reference_range(const struct conf_row *row, FILE *out); /* "1 to 3600 s"; or nothing. */

#endif
