package main

import (
	"strings"
	"testing"
)

const sslscanSample = `<?xml version="1.0" encoding="UTF-8"?>
<document title="SSLScan Results" version="2.0.7" web="http://github.com/rbsec/sslscan">
 <ssltest host="10.0.2.10" sniname="10.0.2.10" port="3306">
  <protocol type="ssl" version="3" enabled="0" />
  <protocol type="tls" version="1.2" enabled="0" />
  <protocol type="tls" version="1.3" enabled="1" />
  <compression supported="0" />
  <heartbleed sslversion="TLSv1.3" vulnerable="0" />
  <cipher status="preferred" sslversion="TLSv1.3" bits="128" cipher="TLS_AES_128_GCM_SHA256" id="0x1301" ` +
	`strength="acceptable" />
  <cipher status="accepted" sslversion="TLSv1.3" bits="256" cipher="TLS_AES_256_GCM_SHA384" id="0x1302" ` +
	`strength="acceptable" />
 <certificates>
  <certificate type="short">
   <self-signed>false</self-signed>
   <expired>false</expired>
  </certificate>
 </certificates>
 </ssltest>
</document>
`

func TestSSLScansReport(t *testing.T) {
	if _, found, err := parseSSLScan(sslscanSample); err != nil || len(found) != 0 {
		t.Errorf("got %v, %v", found, err)
	}
	for id, fault := range map[string][2]string{
		"tls 1.2":                {`version="1.2" enabled="0"`, `version="1.2" enabled="1"`},
		"ssl 3":                  {`version="3" enabled="0"`, `version="3" enabled="1"`},
		"compression":            {`compression supported="0"`, `compression supported="1"`},
		"heartbleed":             {`vulnerable="0"`, `vulnerable="1"`},
		"AES128-SHA":             {`cipher="TLS_AES_128_GCM_SHA256"`, `cipher="AES128-SHA"`},
		"expired":                {`<expired>false`, `<expired>true`},
		"self-signed":            {`<self-signed>false`, `<self-signed>true`},
		"TLS_AES_256_GCM_SHA384": {`id="0x1302" strength="acceptable"`, `id="0x1302" strength="weak"`},
	} {
		_, found, err := parseSSLScan(strings.Replace(sslscanSample, fault[0], fault[1], 1))
		if err != nil || len(found) != 1 || found[0].id != id {
			t.Errorf("%s: got %v, %v", id, found, err)
		}
	}
	none, _, _ := strings.Cut(sslscanSample, "  <cipher")
	for name, text := range map[string]string{"empty": "", "no connection": none + "</ssltest></document>"} {
		if _, _, err := parseSSLScan(text); err == nil {
			t.Errorf("%s: it is taken for a judgement", name)
		}
	}
}
