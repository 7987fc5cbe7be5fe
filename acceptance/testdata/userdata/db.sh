#!/bin/sh
# The db tier set up at boot. @PASSWORD@ and @ADDRESS@ are the application's password and the machine's address.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q=2 update
apt-get -q=2 install --no-install-recommends -y mariadb-server
cat >/etc/mysql/mariadb.conf.d/90-app.cnf <<'CNF'
[mysqld]
bind-address = @ADDRESS@
skip-name-resolve = ON
require_secure_transport = ON
local-infile = OFF
CNF
systemctl restart mariadb
mariadb <<'SQL'
CREATE DATABASE app CHARACTER SET utf8mb4;
CREATE USER app@'10.0.1.0/255.255.255.0' IDENTIFIED BY '@PASSWORD@' REQUIRE SSL;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO app@'10.0.1.0/255.255.255.0';
USE app;
CREATE TABLE users (
  id INT AUTO_INCREMENT PRIMARY KEY,
  username VARCHAR(50) NOT NULL,
  email VARCHAR(100) NOT NULL,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO users (username, email) VALUES ('admin', 'admin@example.com'), ('test', 'test@example.com');
SQL
