# Findings of the scanners that are accepted. Each says which scanner, what it calls the finding, and why. Anything that is
# not listed fails `make scan`, and so does a line that nothing needs any more.
