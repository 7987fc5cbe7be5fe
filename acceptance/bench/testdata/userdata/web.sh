# The web tier. @ADDRESS@ is the database's address. The application itself is in the image.
useradd --system --shell /usr/sbin/nologin goldsmith-webapp
install -d /run/goldsmith/tls
install -d -m 700 /run/goldsmith/credentials
parameter app_password | tr -d '\n' >/run/goldsmith/credentials/db_password
parameter ca >/run/goldsmith/credentials/db_ca
printf 'DB_HOST=@ADDRESS@\nDB_NAME=app\nDB_USER=app\nDB_TLS=verify\n' >/run/goldsmith/web.env
cat >/etc/systemd/system/goldsmith-webapp.service <<'END'
@UNIT@
END
install -d /etc/systemd/system/goldsmith-webapp.service.d
printf '[Service]\nIPAddressAllow=@ADDRESS@\n' >/etc/systemd/system/goldsmith-webapp.service.d/10-database.conf
systemctl daemon-reload
systemctl -q enable --now goldsmith-webapp.service
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 90 -subj /CN=web -keyout /run/goldsmith/tls/web.key -out /run/goldsmith/tls/web.crt 2>/dev/null
chgrp www-data /run/goldsmith/tls/web.key
chmod 640 /run/goldsmith/tls/web.key
cat >/etc/nginx/nginx.conf <<'END'
@SERVER@
END
cat >/etc/nginx/sites-available/app <<'END'
@SITE@
END
rm /etc/nginx/sites-enabled/default
ln -s ../sites-available/app /etc/nginx/sites-enabled/app
install -d /etc/systemd/system/nginx.service.d
cat >/etc/systemd/system/nginx.service.d/20-hardening.conf <<'END'
@NGINX@
END
chown -R www-data:adm /var/log/nginx
systemctl daemon-reload
systemctl restart nginx
