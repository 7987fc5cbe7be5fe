# Findings of the scanners that are accepted. Each says which scanner, what it calls the finding, and why. Anything that is
# not listed fails `make scan`, and so does a line that nothing needs any more.

exception "mysql-controls" "cis-1.1" {
  tiers     = ["db"]
  reason    = "An image has one volume. A stack attaches one for the data; an instance that is launched by itself has none."
  sometimes = true
}

exception "ssh-baseline" "allowtcpforwarding" {
  tiers  = ["web"]
  reason = "The way to the db instance, which has no public address, leads through the web instance. Only connections from it (local) are opened, and only for who has a key."
}

exception "ssh-audit" "kex sntrup761x25519-sha512@openssh.com" {
  reason = "ssh-audit 2.5.0 takes it for experimental. It is dev-sec's first choice and a hybrid: no weaker than the X25519 in it, and good against a quantum computer."
}

exception "ssh-audit" "kex kex-strict-s-v00@openssh.com" {
  reason = "It is no key exchange but the mark of a server that is safe from the Terrapin attack (CVE-2023-48795), and younger than ssh-audit 2.5.0."
}

exception "ssh-audit" "vulnerabilities of OpenSSH 10.0p2" {
  reason = "ssh-audit 2.5.0 compares versions as text, by which 10.0 comes before 4.1. Its table ends with OpenSSH 7.7, so that none of it concerns this server."
}

exception "linux-baseline" "sysctl net.ipv4.tcp_timestamps" {
  reason = "Without timestamps a fast connection takes old segments for new ones, and measures its round trips badly. Linux gives each connection an offset of its own, so the uptime does not show."
}

exception "linux-baseline" "modprobe vfat" {
  reason = "The EFI system partition, from which instances boot, is vfat."
}

exception "testssl" "engine_problem" {
  reason    = "It is of the OpenSSL of the machine that judges: without the GOST engine it cannot offer ciphers that nobody has."
  sometimes = true
}

exception "testssl" "sessionresumption_ticket" {
  reason    = "testssl tells of it and does not judge it. With TLS 1.3 its client often hangs up before the session has come, and it then finds none to go on with."
  sometimes = true
}
