/* Swaps names as fast as it can: for each pair of arguments A B, RENAME_EXCHANGE of both, for ever.
   Run by the tests as an unprivileged user; writes one byte to standard output once it swaps. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char **argv)
{
	unsigned long swapped = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* not beyond the test */
	if (argc < 3 || argc % 2 == 0)
		return 2;
	for (;;) {
		for (int i = 1; i < argc; i += 2)
			if (renameat2(AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1], RENAME_EXCHANGE) == 0 && swapped++ == 0)
				if (write(1, "s", 1) != 1)
					return 1;
	}
}
