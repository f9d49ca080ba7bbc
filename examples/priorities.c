/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sixty-four vectors, and which goes first.
 *
 * A thread has vectors 0 to 63; of those that are pending, the highest is
 * delivered first.  While a handler runs, further interrupts wait: the processor
 * clears the user-interrupt flag (UIF) on entry, and UIRET at the handler's end
 * sets it.  A handler that executes STUI itself can be interrupted, by any
 * vector: the flag has no levels.
 *
 * The thread sends to itself (uintr_register_self), so the order is the same
 * every time:
 *
 *	$ ./priorities
 *	held back, then released: 63 42 17 3 0
 *	handler of 5 sends 60 and 2, not nested: [5] [60] [2]
 *	handler of 5 sends 60 and 2, nested:     [5 [60] [2]]
 */
#include <stdio.h>
#include <stdlib.h>

#include "uintr.h"

static const int vectors[] = { 17, 0, 63, 3, 42, 5, 60, 2 };
#define NR_VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static int index_of[64];		/* SENDUIPI index of each vector used */

/* What happened, as text. volatile: the handler writes, main() reads. */
static volatile char text[256];
static volatile int text_len;
static volatile int handled;
static enum { PLAIN, SEND, SEND_NESTED } mode;

static void put(char c)
{
	if (text_len < (int)sizeof(text) - 1)
		text[text_len++] = c;
}

static void put_vector(unsigned long long v)
{
	if (v >= 10)
		put('0' + v / 10);
	put('0' + v % 10);
}

static void __attribute__((interrupt))
handler(struct __uintr_frame *frame, unsigned long long vector)
{
	(void)frame;
	if (mode == PLAIN) {
		put(' ');
		put_vector(vector);
	} else {
		put(' ');
		put('[');
		put_vector(vector);
		if (vector == 5) {
			_senduipi(index_of[60]);
			_senduipi(index_of[2]);
			if (mode == SEND_NESTED) {
				int before = handled;

				_stui();	/* now we can be interrupted */
				while (handled < before + 2)
					;
			}
		}
		put(']');
	}
	handled++;
}

static void finish(const char *title, int expected)
{
	while (handled < expected)
		;
	text[text_len] = '\0';
	printf("%s%s\n", title, (const char *)text);
	text_len = 0;
	handled = 0;
}

int main(void)
{
	unsigned int i;

	if (uintr_register_handler(handler, 0)) {
		perror("uintr_register_handler");
		return EXIT_FAILURE;
	}
	for (i = 0; i < NR_VECTORS; i++) {
		index_of[vectors[i]] = uintr_register_self(vectors[i], 0);
		if (index_of[vectors[i]] < 0) {
			perror("uintr_register_self");
			return EXIT_FAILURE;
		}
	}

	/* UIF is still clear: all five pile up. */
	for (i = 0; i < 5; i++)
		_senduipi(index_of[vectors[i]]);
	_stui();
	finish("held back, then released:", 5);

	mode = SEND;
	_senduipi(index_of[5]);
	finish("handler of 5 sends 60 and 2, not nested:", 3);

	mode = SEND_NESTED;
	_senduipi(index_of[5]);
	finish("handler of 5 sends 60 and 2, nested:    ", 3);

	uintr_unregister_handler(0);
	return EXIT_SUCCESS;
}
