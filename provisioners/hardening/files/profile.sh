# Sessions that nobody sits at end, files are not for others, and no memory is written to disk.
umask 027
ulimit -c 0
TMOUT=900
readonly TMOUT
export TMOUT
