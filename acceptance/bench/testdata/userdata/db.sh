# The db tier. @ADDRESS@ is the machine's address.
install -d -m 700 -o mysql -g mysql /etc/mysql/tls /var/lib/mysql-files /var/log/mysql
cd /etc/mysql/tls
parameter ca >ca.crt
(umask 077 && parameter ca_key >ca.key)
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj /CN=db -addext subjectAltName=IP:@ADDRESS@ -keyout db.key -out db.csr 2>/dev/null
openssl x509 -req -in db.csr -CA ca.crt -CAkey ca.key -days 365 -copy_extensions copy -out db.crt 2>/dev/null
rm ca.key db.csr
chown mysql db.key
cat >/etc/mysql/mariadb.conf.d/90-app.cnf <<'END'
@SERVER@
ssl_ca = /etc/mysql/tls/ca.crt
ssl_cert = /etc/mysql/tls/db.crt
ssl_key = /etc/mysql/tls/db.key
END
install -d /etc/systemd/system/mariadb.service.d
cat >/etc/systemd/system/mariadb.service.d/20-hardening.conf <<'END'
@UNIT@
IPAddressAllow=10.0.1.0/24
END
systemctl daemon-reload
systemctl restart mariadb
mariadb <<SQL
DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host <> 'localhost';
DROP DATABASE IF EXISTS test;
FLUSH PRIVILEGES;
INSTALL PLUGIN IF NOT EXISTS ed25519 SONAME 'auth_ed25519';
CREATE DATABASE app CHARACTER SET utf8mb4;
CREATE USER app@'10.0.1.0/255.255.255.0' IDENTIFIED VIA ed25519 USING PASSWORD('$(parameter app_password)') REQUIRE SSL;
GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO app@'10.0.1.0/255.255.255.0';
USE app;
@SEED@
SQL
