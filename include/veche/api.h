/*
 * Names that cross the REST interface: shared by the server, vechectl and the
 * tests, so that they can not drift apart.
 */
#ifndef VECHE_API_H
#define VECHE_API_H

#define VECHE_PATRONI_VERSION     "4.1.4" /* Whose interface this is. */
#define VECHE_PATRONI_VERSION_NUM 40104

#define VECHE_SOCKET_NAME "veched.sock" /* In the runtime directory. */

/* "/members/pg2/restart": POST /restart of pg2, by way of the agent that is asked. The answer
 * then has this header with the member's name; without it nothing was passed on. */
#define VECHE_PATH_MEMBERS  "/members/"
#define VECHE_HEADER_MEMBER "X-Veche-Member"
/* The agent asked can not reach the member: nothing happened, ask the member itself. */
#define VECHE_CODE_NOT_PASSED 502

#endif
