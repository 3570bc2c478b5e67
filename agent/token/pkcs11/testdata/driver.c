/* A PKCS #11 module for tests: one token in one slot, with no key on it, and at most one certificate. The environment says how
 * it behaves:
 *
 *   DRIVER_FLAGS   flags of the token beside "initialised" and "login required", in hexadecimal
 *   DRIVER_LOGIN   what C_Login returns, in hexadecimal; "hang", "crash" and "flood" are what it does instead
 *   DRIVER_OPEN    "hang", "crash" and "flood": what C_Initialize does
 *   DRIVER_TRIES   a file to which each C_Login appends one byte
 *   DRIVER_CERT    a file with a certificate in DER, whose id is "AB" and whose label is "Chung thu"
 *   DRIVER_AT      a file that is made before the driver does one of these instead
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ul;

static ul number(const char *name) {
	const char *s = getenv(name);
	return s ? strtoul(s, NULL, 16) : 0;
}

static void behave(const char *name) {
	const char *s = getenv(name);
	if (!s || !*s || (*s >= '0' && *s <= '9') || strlen(s) == 2)
		return;
	if (getenv("DRIVER_AT"))
		fclose(fopen(getenv("DRIVER_AT"), "w"));
	if (!strcmp(s, "hang"))
		for (;;)
			pause();
	if (!strcmp(s, "crash"))
		abort();
	if (!strcmp(s, "flood"))
		for (;;)
			write(1, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n", 64);
	if (!strcmp(s, "eat")) {
		for (;;) {
			char *p = malloc(1 << 20);
			if (!p)
				abort();
			memset(p, 1, 1 << 20);
		}
	}
}

static ul ok(void) { return 0; }

static ul initialize(void *args) {
	behave("DRIVER_OPEN");
	puts("a driver that prints");
	fflush(stdout);
	return 0;
}

static ul slots(unsigned char present, ul *list, ul *n) {
	if (list)
		list[0] = 7;
	*n = 1;
	return 0;
}

static ul token(ul slot, unsigned char *info) {
	memset(info, ' ', 96);
	memcpy(info, "Thu nghiem", 10);
	memcpy(info + 80, "0001", 4);
	ul flags = 0x404 | number("DRIVER_FLAGS");
	memcpy(info + 96, &flags, sizeof flags);
	return 0;
}

static ul session(ul slot, ul flags, void *app, void *notify, ul *h) { *h = 1; return 0; }

static ul login(ul h, ul user, const char *pin, ul n) {
	const char *path = getenv("DRIVER_TRIES");
	FILE *f = path ? fopen(path, "a") : NULL;
	if (f) {
		fputc('x', f);
		fclose(f);
	}
	behave("DRIVER_LOGIN");
	return number("DRIVER_LOGIN");
}

struct attribute {
	ul kind;
	void *value;
	ul n;
};

static int wanted; /* whether certificates are looked for */

static ul begin(ul h, struct attribute *a, ul n) {
	wanted = n == 1 && a->kind == 0 && *(ul *)a->value == 1 && getenv("DRIVER_CERT") && *getenv("DRIVER_CERT");
	return 0;
}

static ul find(ul h, ul *objects, ul max, ul *n) {
	*n = wanted;
	if (wanted)
		objects[0] = 5;
	return 0;
}

static ul get(ul h, ul object, struct attribute *a, ul n) {
	static unsigned char cert[8192];
	FILE *f = fopen(getenv("DRIVER_CERT"), "rb");
	if (!f)
		return 5;
	ul size = fread(cert, 1, sizeof cert, f);
	fclose(f);
	const void *value = a->kind == 0x11 ? (void *)cert : a->kind == 0x102 ? (void *)"\xab" : (void *)"Chung thu";
	ul have = a->kind == 0x11 ? size : a->kind == 0x102 ? 1 : 9;
	if (a->kind == 0x102 && getenv("DRIVER_HUGE"))
		have = 1ul << 40;
	if (a->value)
		memcpy(a->value, value, have < a->n ? have : a->n);
	a->n = have;
	return 0;
}

static struct {
	unsigned char version[2];
	void *functions[68];
} list = {{2, 40}};

ul C_GetFunctionList(void **out) {
	for (int i = 0; i < 68; i++)
		list.functions[i] = ok;
	list.functions[0] = initialize;
	list.functions[4] = slots;
	list.functions[6] = token;
	list.functions[12] = session;
	list.functions[18] = login;
	list.functions[24] = get;
	list.functions[26] = begin;
	list.functions[27] = find;
	*out = &list;
	return 0;
}
