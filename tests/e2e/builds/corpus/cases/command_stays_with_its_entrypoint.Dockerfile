FROM busybox
ENTRYPOINT ["e"]
CMD ["c"]
ENTRYPOINT ["f"]
