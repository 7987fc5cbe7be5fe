package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// sample is collect's output on an instance of a database image.
func sample(t *testing.T, flavor string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/controls-" + flavor + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func judged(t *testing.T, out string) []string {
	t.Helper()
	d, err := parseDatabase(out)
	if err != nil {
		t.Fatal(err)
	}
	_, found, err := d.judge()
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, f.id)
	}
	return ids
}

func TestControlsOfAnImage(t *testing.T) {
	for _, flavor := range []string{"mariadb", "mysql"} {
		if got := judged(t, sample(t, flavor)); !slices.Equal(got, []string{"cis-1.1"}) {
			t.Errorf("%s: got %v, want only that the data is on the system's volume", flavor, got)
		}
	}
}

// plant is a fault: a line of the sample that becomes another, or is added to it.
type plant struct{ line, instead string }

const evil = "account\tevil\t%\tmysql_native_password\t0\t0\t0\t0"

// planted has, for every control, a fault that it must find.
var planted = map[string]plant{
	"mysql-conf-02":                    {"fact\tprocesses\t1", "fact\tprocesses\t2"},
	"mysql-conf-03-user":               {"fact\tprocess_user\tmysql", "fact\tprocess_user\troot"},
	"mysql-conf-03-safe-user-create":   {"option\tsafe-user-create\tON", ""},
	"mysql-conf-03-old-passwords":      {"variable\told_passwords\tOFF", "variable\told_passwords\tON"},
	"mysql-conf-03-skip-show-database": {"variable\tskip_show_database\tON", "variable\tskip_show_database\tOFF"},
	"mysql-conf-03-automatic-sp-privileges": {
		"variable\tautomatic_sp_privileges\tOFF",
		"variable\tautomatic_sp_privileges\tON",
	},
	"mysql-conf-04":    {"file\tdatadir\tmysql:mysql 750", "file\tdatadir\troot:mysql 750"},
	"mysql-conf-05":    {"", "file\tibdata1\tmysql:mysql 664"},
	"mysql-conf-06":    {"", "file\tlog\tmysql:adm 644"},
	"mysql-conf-07":    {"file\tmy.cnf\troot:mysql 640", "file\tmy.cnf\troot:root 644"},
	"mysql-conf-08":    {"", "options\troot:root 644 /etc/mysql/conf.d/late.cnf"},
	"mysql-conf-09":    {"fact\tmysql_pwd\t", "fact\tmysql_pwd\t/proc/812/environ"},
	"mysql-db-01":      {"", "variable\tversion_comment\tMySQL Community Server - GPL"},
	"mysql-db-02":      {"", "variable\tversion\t4.1.22"},
	"mysql-db-03":      {"", "schema\ttest"},
	"mysql-db-04":      {"", "account\t\tlocalhost\tmysql_native_password\t0\t1\t0\t0"},
	"mysql-db-05":      {"", "account\tguest\tlocalhost\tmysql_native_password\t0\t0\t0\t0"},
	"mysql-db-06":      {"", "right\tapp@10.0.1.0/255.255.255.0\tapp\tGRANT OPTION"},
	"mysql-db-07":      {"", evil},
	"mysql-db-08":      {"", "account\troot\t10.0.1.5\ted25519\t0\t1\t0\t1"},
	"cis-1.3":          {"fact\thistories\t", "fact\thistories\t/root/.mysql_history"},
	"cis-1.5":          {"fact\tshell\t/bin/false", "fact\tshell\t/bin/bash"},
	"cis-2.1.5-log":    {"variable\tlog_bin\tON", "variable\tlog_bin\tOFF"},
	"cis-2.1.5-expiry": {"", "variable\tbinlog_expire_logs_seconds\t0"},
	"cis-2.3":          {"fact\tpassword_arguments\t", "fact\tpassword_arguments\t--password"},
	"cis-2.5":          {"", "variable\tssl_cert\tserver-cert.pem"},
	"cis-2.7":          {"", "variable\tdefault_password_lifetime\t366"},
	"cis-2.8-history":  {"", "variable\tpassword_history\t4"},
	"cis-2.8-interval": {"", "variable\tpassword_reuse_interval\t364"},
	"cis-2.14":         {"", "variable\tbind_address\t0.0.0.0"},
	"cis-2.15":         {"", "variable\ttls_version\tTLSv1.2,TLSv1.3"},
	"cis-2.17": {
		"",
		"variable\tssl_cipher\tAES128-SHA\nvariable\ttls_ciphersuites\tTLS_AES_128_CCM_SHA256",
	},
	"cis-2.18": {
		"",
		"variable\tcomponent_connection_control.failed_connections_threshold\t0",
	},
	"cis-3.1":      {"file\tdatadir\tmysql:mysql 750", "file\tdatadir\tmysql:mysql 755"},
	"cis-3.2":      {"", "file\tbinlog\tmysql:mysql 644"},
	"cis-3.3":      {"", "file\tlog\tmysql:adm 644"},
	"cis-3.7":      {"", "file\tkey\tmysql:mysql 640"},
	"cis-3.8":      {"", "file\tplugins\tmysql:mysql 755"},
	"cis-4.2":      {"", "schema\tsakila"},
	"cis-4.3":      {"option\tallow-suspicious-udfs\tOFF", "option\tallow-suspicious-udfs\t"},
	"cis-4.4":      {"variable\tlocal_infile\tOFF", "variable\tlocal_infile\tON"},
	"cis-4.5":      {"", "option\tskip-grant-tables\t"},
	"cis-4.6":      {"variable\thave_symlink\tDISABLED", "variable\thave_symlink\tYES"},
	"cis-4.8":      {"", "variable\tsecure_file_priv\t"},
	"cis-4.8-mode": {"", "file\tfiles\tmysql:mysql 777"},
	"cis-4.9":      {"", "variable\tsql_mode\tSTRICT_TRANS_TABLES"},
	"cis-5.1":      {"", "right\tapp@10.0.1.0/255.255.255.0\t\tFILE"},
	"cis-5.9":      {"", "right\tapp@10.0.1.0/255.255.255.0\tapp\tDROP"},
	"cis-6.1":      {"", "variable\tlog_error\t"},
	"cis-6.3":      {"", "variable\tlog_warnings\t1\nvariable\tlog_error_verbosity\t1"},
	"cis-6.4":      {"option\tlog_raw\tOFF", "option\tlog_raw\tON"},
	"cis-7.1": {
		"",
		"account\told\t10.0.1.0/255.255.255.0\tmysql_native_password\t0\t1\t0\t1",
	},
	"cis-7.2": {"fact\tpasswords\t", "fact\tpasswords\t/root/.my.cnf"},
	"cis-7.3": {"", "account\tguest\tlocalhost\tcaching_sha2_password\t0\t0\t0\t0"},
	"cis-7.5": {
		"",
		"variable\tsimple_password_check_minimal_length\t8\nvariable\tvalidate_password.length\t8",
	},
	"cis-7.5-strict": {"", "variable\tstrict_password_validation\tOFF"},
	"cis-7.5-policy": {"", "variable\tvalidate_password.policy\tLOW"},
	"cis-7.6":        {"", "account\tapp\t10.0.%\ted25519\t0\t1\t0\t1"},
	"cis-7.7":        {"", "account\t\tlocalhost\tmysql_native_password\t0\t1\t0\t0"},
	"cis-8.1":        {"variable\trequire_secure_transport\tON", "variable\trequire_secure_transport\tOFF"},
	"cis-8.2":        {"", "account\tplain\t10.0.1.0/255.255.255.0\ted25519\t0\t1\t0\t0"},
	"name-resolve":   {"variable\tskip_name_resolve\tON", "variable\tskip_name_resolve\tOFF"},
	"x-protocol":     {"option\tmysqlx\tOFF", ""},
	"sockets-masked": {"fact\tsockets\t", "fact\tsockets\tmariadb.socket"},
}

// TestEachControlFindsItsFault: a control that finds nothing wrong whatever there is would pass for ever.
func TestEachControlFindsItsFault(t *testing.T) {
	for _, c := range databaseControls {
		p, ok := planted[c.id]
		if c.id == "cis-1.1" { // the samples have this fault
			continue
		}
		if !ok {
			t.Errorf("%s has no fault to find", c.id)
			continue
		}
		flavors := []string{"mariadb", "mysql"}
		if c.flavor != "" {
			flavors = []string{c.flavor}
		}
		for _, flavor := range flavors {
			text := strings.TrimSuffix(sample(t, flavor), "end\n")
			if p.line != "" {
				if !strings.Contains(text, p.line+"\n") {
					t.Errorf("%s: %s: the sample has no line %q", c.id, flavor, p.line)
				}
				text = strings.ReplaceAll(text, p.line+"\n", "")
			}
			if p.instead != "" {
				text += p.instead + "\n"
			}
			if got := judged(t, text+"end\n"); !slices.Contains(got, c.id) {
				t.Errorf("%s: %s: with %q it finds nothing, others find %v", c.id, flavor, p.instead, got)
			}
		}
	}
}

func TestDataOnAVolumeOfItsOwn(t *testing.T) {
	text := strings.Replace(sample(t, "mysql"), "fact\tdata_device\t", "fact\tdata_device\t9", 1)
	if got := judged(t, text); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// TestUnfinishedAnswer: what is not whole is not judged.
func TestUnfinishedAnswer(t *testing.T) {
	whole := sample(t, "mariadb")
	for name, text := range map[string]string{
		"no end":        strings.TrimSuffix(whole, "end\n"),
		"empty":         "",
		"only the end":  "end\n",
		"field missing": strings.Replace(whole, "account\troot\t", "account\t", 1),
		"unknown line":  "ERROR 1045\n" + whole,
	} {
		if _, err := parseDatabase(text); err == nil {
			t.Errorf("%s: it is taken for whole", name)
		}
	}
}

func TestCollectAsksForEveryVariable(t *testing.T) {
	script := collect()
	for _, c := range databaseControls {
		if c.variable != "" && !strings.Contains(script, "'"+c.variable+"'") {
			t.Errorf("%s: %s is not asked for", c.id, c.variable)
		}
	}
}
