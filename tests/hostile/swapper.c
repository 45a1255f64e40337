/* swapper NUMBER A B PROGRAM [ARG...]
   Runs PROGRAM and exchanges the names A and B right after its NUMBER-th system call (0: never), by the kernel's
   tracing: what a racing user hits once in a thousand launches is hit at every place in turn. Ends as PROGRAM does.
   With the number 0 it writes into the file A how many calls came before the second execve. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char **argv)
{
	long number, calls = 0, execs = 0;
	int status, entering = 0;
	pid_t child;

	if (argc < 5)
		return 99;
	number = atol(argv[1]);
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[4], argv + 4);
		_exit(99);
	}
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
	for (int sig = 0;;) {
		if (ptrace(PTRACE_SYSCALL, child, 0, sig))
			return 99;
		if (waitpid(child, &status, 0) < 0)
			return 99;
		sig = 0;
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) {
			if (++execs == 2 && number == 0) {
				FILE *count = fopen(argv[2], "w");
				if (!count || fprintf(count, "%ld\n", calls) < 0 || fclose(count))
					return 98;
			}
		} else if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			entering = !entering;
			if (!entering && ++calls == number &&
			    renameat2(AT_FDCWD, argv[2], AT_FDCWD, argv[3], RENAME_EXCHANGE))
				return 98;
		} else {
			sig = WSTOPSIG(status);
		}
	}
}
