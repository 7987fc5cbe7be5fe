#!/bin/sh
# The web tier set up at boot. @PASSWORD@ and @ADDRESS@ are the application's password and the database's address. The
# application itself is in the image.
set -eu
export DEBIAN_FRONTEND=noninteractive
useradd --system --shell /usr/sbin/nologin webapp
install -d -m 700 /etc/webapp
printf %s '@PASSWORD@' >/etc/webapp/db_password
cat >/etc/systemd/system/webapp.service <<'UNIT'
[Unit]
Description=The web application
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
ExecStart=/usr/local/bin/webapp
User=webapp
Environment=LISTEN=127.0.0.1:5000 DB_HOST=@ADDRESS@ DB_NAME=app DB_USER=app DB_TLS=required
LoadCredential=db_password:/etc/webapp/db_password
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
systemctl enable --now webapp.service
apt-get -q=2 update
apt-get -q=2 install --no-install-recommends -y nginx
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 90 -subj /CN=web \
  -keyout /etc/ssl/private/web.key -out /etc/ssl/certs/web.crt 2>/dev/null
cat >/etc/nginx/sites-available/app <<'SITE'
upstream application {
    server 127.0.0.1:5000;
    keepalive 32;
}
server {
    listen 80 default_server;
    return 301 https://$host$request_uri;
}
server {
    listen 443 ssl default_server;
    http2 on;
    server_tokens off;
    ssl_certificate /etc/ssl/certs/web.crt;
    ssl_certificate_key /etc/ssl/private/web.key;
    location / {
        proxy_pass http://application;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
    }
}
SITE
rm /etc/nginx/sites-enabled/default
ln -s ../sites-available/app /etc/nginx/sites-enabled/app
systemctl reload nginx
