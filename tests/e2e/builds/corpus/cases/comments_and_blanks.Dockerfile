# syntax=docker/dockerfile:1

   # indented
	FROM    busybox   AS   x  
  ENV    A=1     B=2   
  # between
RUN	echo one \

    # a comment
    two > /words \  
 && echo 'a # b' >> /words # not a comment
LABEL a=b \
# gone
   c=d
