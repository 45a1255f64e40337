/* Sends signals that nobody can block or would forward to every process that its user may signal, for ever.
   Run by the tests as an unprivileged user of no other process; writes one byte to standard output once it begins. */
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void)
{
	static const int signals[] = {SIGABRT, SIGSEGV, SIGSYS, SIGKILL};

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* not beyond the test */
	if (write(1, "s", 1) != 1)
		return 1;
	for (unsigned int i = 0;; i++)
		kill(-1, signals[i % 4]); /* but this one and init (kill(2)) */
}
