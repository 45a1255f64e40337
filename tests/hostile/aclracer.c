/* Lets UID write a directory by an access list, for ever: aclracer UID DIRECTORY.
   Run by the tests as an unprivileged user; writes one byte to standard output once it has begun. */
#include <linux/posix_acl_xattr.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#define UNDEFINED ((unsigned int)-1)

int main(int argc, char **argv)
{
	struct {
		struct posix_acl_xattr_header header;
		struct posix_acl_xattr_entry entries[5];
	} list = {
		{POSIX_ACL_XATTR_VERSION},
		{{1, 7, UNDEFINED}, {2, 7, 0}, {4, 5, UNDEFINED}, {16, 7, UNDEFINED}, {32, 5, UNDEFINED}},
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* not beyond the test */
	if (argc != 3)
		return 2;
	list.entries[1].e_id = (unsigned int)atoi(argv[1]);
	if (write(1, "s", 1) != 1)
		return 1;
	for (;;)
		setxattr(argv[2], "system.posix_acl_access", &list, sizeof list, 0);
}
