FROM busybox
COPY special/arr[[]0].txt /brackets/
COPY special/arr* /star/
COPY special/\$dollar /dollar
COPY ["special/é x", "/é y/"]
COPY special /all
COPY special/a?r* /mark/
