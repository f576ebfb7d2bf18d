#include "sim_log.h"
const struct sim_log_kind sim_log_fixture = {0};
