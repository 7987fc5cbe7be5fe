//go:build acceptance

package deploys

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// TestDatabaseFaults gives the bake of a database what it has to refuse. Each ends with the cause, and without an AMI.
func TestDatabaseFaults(t *testing.T) {
	template, err := os.ReadFile(filepath.Join(rig.Repository, "files", "mysql", "goldsmith.cnf.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	config := func(more string) map[string]string {
		return map[string]string{"server.cnf.tmpl": string(template) + more + "\n"}
	}
	seed := func(text string) map[string]string {
		files := config("")
		files["seed.sql"] = text
		return files
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
		more  bool // of a kind that another case shows too
	}{
		{"seed with a syntax error in the middle",
			seed("CREATE TABLE a (i INT);\nINSERT INTO a VALUES (1);\nINSRT INTO a VALUES (2);\n" +
				"INSERT INTO a VALUES (3);\n"),
			[]string{`seed\.sql`, `at line 3`, `INSRT`}, false},
		// Its bytes arrive as they are, or it would fail before: each check has two rows where one is due.
		{"seed with an account of any host",
			seed("CREATE TABLE a (i INT);\nSET NAMES latin1;\nCREATE TABLE n (t VARCHAR(9), b BLOB);\n" +
				"INSERT INTO n VALUES ('K\xf8ge', _binary '\xff\xd8\r\n');\n" +
				"INSERT INTO a SELECT IF(HEX(t) = '4BC3B86765' AND HEX(b) = 'FFD80D0A', 1, (SELECT 1 UNION SELECT " +
				"2)) FROM n;\nCREATE USER 'x'@'%' IDENTIFIED BY 'Kx7-vR2mXz94pLs8';\nGRANT ALL ON *.* TO 'x'@'%';\n"),
			[]string{`no account but of the local socket`, `'x'@'%'`}, false},
		{"seed with a local account that has a password",
			seed("CREATE TABLE a (i INT);\nCREATE USER 'report'@'localhost' IDENTIFIED BY 'Kx7-vR2mXz94pLs8';\n"),
			[]string{`no account but of the local socket`, `'report'@'localhost'`}, true},
		{"option that the server does not know", config("no-such-option = 1"),
			[]string{`configure the server`, `no-such-option`}, true},
		{"option with which the server does not start", config("innodb_page_size = 4096"),
			[]string{`restart the server`, `exit status 1: .*\[ERROR\] InnoDB: .*ibdata1`}, false},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			before := rig.Inventory(t)
			attributes := "config = \"server.cnf.tmpl\"\ndrop_in = \"" + rig.Repository +
				"/files/mysql/hardening.conf.tmpl\"\n"
			if c.files["seed.sql"] != "" {
				attributes += "seed = \"seed.sql\"\n"
			}
			out, err := rig.Bake{
				Files:        c.files,
				Provisioners: "provisioner \"goldsmith-mysql\" {\n" + attributes + "}\n",
			}.Run(t)
			if err == nil {
				t.Error("it succeeded")
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("the output does not match %s", want)
				}
			}
			if strings.Contains(out, "Creating the AMI") {
				t.Error("an AMI was made")
			}
			rig.AssertNothingLeft(t, before)
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

// TestDatabaseFirstBootFaults launches the db image where its first boot cannot succeed. It says why on the console,
// and listens to nobody.
func TestDatabaseFirstBootFaults(t *testing.T) {
	const password, prefix = "Kx7-vR2mXz94pLs8", "/goldsmith/faults/"
	image := aws.ToString(rig.Tier(t, "db").ImageId)
	letRead(t, "goldsmith-"+rig.StackName+"-db", prefix+"*", "/goldsmith/nowhere/*")
	put := func(name, password string, from, until time.Time) {
		ca, key := authorityFor(t, from, until)
		for parameter, value := range map[string]string{"app_password": password, "ca": ca, "ca_key": key} {
			parameter = prefix + name + "/db/" + parameter
			rig.Must(t, "aws", "ssm", "put-parameter", "--name", parameter, "--type", "SecureString", "--value", value)
			t.Cleanup(func() { rig.Must(t, "aws", "ssm", "delete-parameter", "--name", parameter) })
		}
	}
	now := time.Now()
	put("expired", password, now.AddDate(0, 0, -30), now.AddDate(0, 0, -1))
	put("future", password, now.AddDate(0, 0, 3), now.AddDate(1, 0, 0))
	put("weak", "short", now.AddDate(0, 0, -1), now.AddDate(1, 0, 0))
	filled := func(in *ec2.RunInstancesInput) {
		text, err := base64.StdEncoding.DecodeString(aws.ToString(in.UserData))
		if err != nil {
			t.Fatal(err)
		}
		const fill = "bootcmd:\n- [sh, -c, 'fallocate -l $(( $(stat -f -c %f /) * $(stat -f -c %S /) - 8388608 )) " +
			"/filler; dd if=/dev/zero of=/rest bs=4k; true']\n"
		in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(string(text) + fill)))
	}
	for i, c := range []struct {
		name, parameters string
		change           func(*ec2.RunInstancesInput)
		want             string
		more             bool // of a kind that another case shows too
	}{
		{"parameter missing", "/goldsmith/nowhere", nil, `there is no /goldsmith/nowhere/db/app_password`, false},
		{
			"parameter not readable",
			"/goldsmith/" + rig.StackName,
			func(in *ec2.RunInstancesInput) { in.IamInstanceProfile = nil },
			`db/app_password.* with the instance's role: .*(?i)(credential|role)`,
			true,
		},
		{"authority expired", prefix + "expired", nil, `authority is valid from .* to .*, and here it is`, false},
		{"clock behind", prefix + "future", nil, `authority is valid from .* to .*, and here it is`, true},
		{
			"weak password", prefix + "weak", nil,
			`/goldsmith/faults/weak/db/app_password: it should have 14 characters`, true,
		},
		{"disk full", "/goldsmith/" + rig.StackName, filled, `no space left on device`, false},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			settings := instance.Settings{
				Stack:      rig.StackName,
				Tier:       "db",
				Kind:       instance.KindData,
				Parameters: c.parameters,
				Clients:    []string{"10.0.1.0/24"},
			}
			report := rig.ReportOfDatabase(t, image, "fault", "10.0.2."+big.NewInt(int64(60+i)).String(), settings,
				c.change)
			if report.Ready {
				t.Fatal("it is ready")
			}
			for _, check := range report.Checks {
				switch check.Name {
				case "unit " + instance.FirstBootUnit:
					if !regexp.MustCompile(c.want).MatchString(check.Detail) {
						t.Errorf("got %q, want %s", check.Detail, c.want)
					}
				case "listens":
					if !strings.Contains(check.Detail, "listened to on []") {
						t.Errorf("the server listens: %s", check.Detail)
					}
				}
				if strings.Contains(check.Detail, password) {
					t.Errorf("the report shows the password: %s", check.Detail)
				}
			}
		})
	}
}

// authorityFor is a certificate authority as a stack has one, valid for this time.
func authorityFor(t *testing.T, from, until time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority"},
		NotBefore:             from,
		NotAfter:              until,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	)
}

// letRead lets a role read parameters that are not its stack's, until the test ends.
func letRead(t *testing.T, role string, parameters ...string) {
	t.Helper()
	var on []string
	for _, parameter := range parameters {
		on = append(on, "arn:aws:ssm:*:*:parameter"+parameter)
	}
	policy, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": map[string]any{
			"Effect":   "Allow",
			"Action":   "ssm:GetParameters",
			"Resource": on,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	rig.Must(t, "aws", "iam", "put-role-policy", "--role-name", role, "--policy-name", "faults",
		"--policy-document", string(policy))
	t.Cleanup(func() {
		rig.Must(t, "aws", "iam", "delete-role-policy", "--role-name", role, "--policy-name", "faults")
	})
}
