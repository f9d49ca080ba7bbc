// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The first process of the benchmarks' guest. It reads lines from the console: a program of this folder with its
// arguments, which it runs and whose end it reports, or "off", at which it switches the machine off.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static void run(char *line)
{
	char *words[8], path[64];
	int count = 0, status = 0;
	pid_t child;

	for (char *word = strtok(line, " \n"); word && count < 7; word = strtok(NULL, " \n"))
		words[count++] = word;
	words[count] = NULL;
	if (!count)
		return;
	if (!strcmp(words[0], "off")) {
		sync();
		reboot(RB_POWER_OFF);
	}
	snprintf(path, sizeof(path), "/bin/%s", words[0]);
	child = fork();
	if (!child) {
		execv(path, words);
		perror(path);
		_exit(127);
	}
	waitpid(child, &status, 0);
	printf("@exit %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(void)
{
	struct termios mode;
	char line[256];

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	// The serial line as it is: no echo, no change of line ends.
	if (!tcgetattr(0, &mode)) {
		mode.c_iflag = 0;
		mode.c_oflag = 0;
		mode.c_lflag = ICANON;
		tcsetattr(0, TCSANOW, &mode);
	}
	setenv("BENCH", "1", 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	// A program reads its own lines: nothing may be read ahead here.
	setvbuf(stdin, NULL, _IONBF, 0);
	printf("@ready\n");
	while (fgets(line, sizeof(line), stdin))
		run(line);
	return 0;
}
