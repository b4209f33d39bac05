/*
 * Writes commands for `redis-cli --pipe`: JSON values as an application would keep them, the same
 * for the same arguments.  With a round above 0, only one key in a hundred, with new values.
 *
 *   values KEYS ROUND [PERCENT]
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS 3000
#define VALUE_MAX 4096

static uint64_t state;
static char words[WORDS][12];
static char value[VALUE_MAX];
static size_t used;

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint32_t below(uint32_t n)
{
	return (uint32_t)((mix(state += 0x9e3779b97f4a7c15) >> 32) * n >> 32);
}

static void add(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	used += (size_t)vsnprintf(value + used, VALUE_MAX - used, format, args);
	va_end(args);
}

static void make_words(void)
{
	state = 1;
	for (int i = 0; i < WORDS; i++) {
		uint32_t len = 3 + below(7);

		for (uint32_t k = 0; k < len; k++)
			words[i][k] = (k % 2 ? "aeiou"[below(5)] : "bcdfghklmnprstvw"[below(16)]);
	}
}

/* Frequent words are frequent, as in text. */
static const char *word(void)
{
	return words[below(below(below(WORDS) + 1) + 1)];
}

static void sentence(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		add("%s%s", i ? " " : "", word());
}

static void make_value(uint32_t key, uint32_t round)
{
	used = 0;
	state = mix((uint64_t)round << 32 | key);
	add("{\"id\":%" PRIu32 ",\"session\":\"%016" PRIx64 "%016" PRIx64
	    "\",\"revision\":%" PRIu32,
	    key, mix(state + 1), mix(state + 2), round);
	add(",\"user\":{\"name\":\"%s %s\",\"email\":\"%s.%s%" PRIu32
	    "@example.org\",\"age\":%" PRIu32,
	    word(), word(), word(), word(), below(1000), 18 + below(60));
	add(",\"city\":\"%s\",\"active\":%s},\"created\":\"2024-%02" PRIu32 "-%02" PRIu32
	    "T%02" PRIu32 ":%02" PRIu32 ":%02" PRIu32 "Z\",\"scores\":[",
	    word(), below(2) ? "true" : "false", 1 + below(12), 1 + below(28), below(24), below(60),
	    below(60));
	for (int i = 0; i < 6; i++)
		add("%s%" PRIu32 ".%03" PRIu32, i ? "," : "", below(100), below(1000));
	add("],\"tags\":[\"%s\",\"%s\",\"%s\"],\"token\":\"", word(), word(), word());
	for (int i = 0; i < 6; i++)
		add("%08" PRIx32, below(UINT32_MAX));
	add("\",\"items\":[");
	for (uint32_t i = 0, n = 2 + below(4); i < n; i++)
		add("%s{\"sku\":\"%c%c-%05" PRIu32 "\",\"quantity\":%" PRIu32 ",\"price\":%" PRIu32
		    ".%02" PRIu32 ",\"title\":\"%s %s\"}",
		    i ? "," : "", 'A' + (int)below(26), 'A' + (int)below(26), below(100000),
		    1 + below(9), below(500), below(100), word(), word());
	add("],\"description\":\"");
	sentence(40 + below(60));
	add("\"}");
}

int main(int argc, char **argv)
{
	uint32_t keys, round, changes;
	uint64_t pick;

	if (argc < 3) {
		fprintf(stderr, "usage: values KEYS ROUND [CHANGES]\n");
		return 2;
	}
	keys = (uint32_t)strtoul(argv[1], NULL, 10);
	round = (uint32_t)strtoul(argv[2], NULL, 10);
	changes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : keys / 100;
	make_words();
	pick = mix(round);
	for (uint32_t i = 0; i < (round ? changes : keys); i++) {
		uint32_t key = round ? (uint32_t)(mix(pick + i) % keys) : i;
		char name[32];
		int len = snprintf(name, sizeof(name), "object:%07" PRIu32, key);

		make_value(key, round);
		printf("*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n%s\r\n", len, name, used, value);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
