/*
 * Calls that have no place in this program: unbounded string functions, and
 * those that block, hide errors or end the process behind the caller's back.
 * Using one is a compile error. The idea is git's banned.h.
 */
#ifndef VECHE_BASE_BANNED_H
#define VECHE_BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#pragma GCC poison strcpy strcat strncat strncpy sprintf vsprintf gets strtok atoi atol atof
#pragma GCC poison tmpnam mktemp gmtime localtime ctime asctime usleep

#endif
