/* resolve NAME: its addresses.  resolve -x ADDRESS: its name.  One a line; the C library's own words where it fails. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int failed(int error)
{
    puts(gai_strerror(error));
    return 1;
}

int main(int count, char **words)
{
    int reverse = count == 3 && !strcmp(words[1], "-x");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = reverse ? AI_NUMERICHOST : 0};
    struct addrinfo *found;
    char text[256];
    int error = getaddrinfo(words[count - 1], 0, &hints, &found);
    if (error)
        return failed(error);
    for (; found; found = found->ai_next) {
        int flags = reverse ? NI_NAMEREQD : NI_NUMERICHOST;
        error = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, flags);
        if (error)
            return failed(error);
        puts(text);
    }
    return 0;
}
