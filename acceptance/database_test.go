//go:build acceptance

package acceptance

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

func TestMariaDB(t *testing.T) {
	assertDatabase(t, "db", "MariaDB", databaseAddress)
}

// TestMySQL bakes the same db image on Debian sid, whose mysql-server is Oracle's, and asks it the same questions.
func TestMySQL(t *testing.T) {
	must(t, goldsmith(), "cloud", "up", "--base", "sid")
	keepRelease(t)
	before := inventory(t)
	t.Cleanup(func() { assertNothingLeft(t, before) })
	must(t, packer(t), "build", "-only", "goldsmith-ami.db", "-var", "stack="+stackName, "-var", "ami_prefix=mysql",
		"-var", "base_ami_name=debian-sid-amd64-daily-*", "-var", "base_ami_owner=903794441882", ".")
	image := imageNamed(t, "mysql-*")
	deregisterAtEnd(t, image)
	launchDatabase(t, *image.ImageId, "mysql", "10.0.2.20")
	assertDatabase(t, "mysql", "MySQL", "10.0.2.20")
}

// assertDatabase asks a running database instance everything that the mysql provisioner and the first boot promise.
func assertDatabase(t *testing.T, name, flavor, address string) {
	query := func(statement string) string {
		t.Helper()
		return mustOnInstance(t, name, fmt.Sprintf("sudo mysql --batch --skip-column-names --execute %q", statement))
	}
	for _, c := range []struct{ name, got, want string }{
		{"product", fmt.Sprint(strings.Contains(query("SELECT VERSION()"), "MariaDB")), fmt.Sprint(flavor == "MariaDB")},
		{"bind_address", query("SELECT @@bind_address"), address},
		{"skip_name_resolve", query("SELECT @@skip_name_resolve"), "1"},
		{"anonymous users", query("SELECT COUNT(*) FROM mysql.user WHERE user = ''"), "0"},
		{"remote root", query("SELECT COUNT(*) FROM mysql.user WHERE user = 'root' AND host <> 'localhost'"), "0"},
		{"accounts for any host", query("SELECT COUNT(*) FROM mysql.user WHERE host LIKE '%\\%%'"), "0"},
		{"test database", query("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = 'test'"), "0"},
		{"application account", query("SELECT host FROM mysql.user WHERE user = 'app'"), "10.0.1.0/255.255.255.0"},
		{"columns", query("SELECT GROUP_CONCAT(CONCAT(column_name, ' ', column_type, ' ', is_nullable, ' ', extra) ORDER BY ordinal_position SEPARATOR ', ') FROM information_schema.columns WHERE table_schema = 'app' AND table_name = 'users'"), ""},
		{"seed", query("SELECT username, email FROM app.users ORDER BY id LIMIT 2"), "admin\tadmin@example.com\ntest\ttest@example.com"},
		{"bind-address lines", mustOnInstance(t, name, `sudo grep -rhcE '^[[:space:]]*(loose[-_])?bind[-_]address' /etc/mysql | awk '{ n += $1 } END { print n }'`), "1"},
		{"listeners", mustOnInstance(t, name, `sudo ss -Hltn | awk '{ print $4 }' | grep -E ':(3306|33060)$'`), address + ":3306"},
		{"system", mustOnInstance(t, name, "systemctl is-system-running"), "running"},
	} {
		if c.name == "columns" {
			assertColumns(t, c.got)
			continue
		}
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
	grants := query("SHOW GRANTS FOR 'app'@'10.0.1.0/255.255.255.0'")
	for line := range strings.Lines(grants) {
		line = strings.ReplaceAll(strings.TrimSpace(line), "`", "'")
		if !strings.HasPrefix(line, "GRANT USAGE ON *.*") && !strings.HasPrefix(line, "GRANT SELECT, INSERT, UPDATE, DELETE ON 'app'.*") {
			t.Errorf("the application account has a right that it does not need: %s", line)
		}
	}
	if out, err := onInstance(t, name, "sudo systemd-analyze security --no-pager --threshold=10 mysql.service"); err != nil {
		t.Errorf("the server's unit is not kept in: %v\n%s", err, out)
	}
	// What of the server's own work the unit could stand in the way of.
	if out := query("CREATE TABLE app.r (a INT) ENGINE=MyISAM; INSERT INTO app.r VALUES (1); REPAIR TABLE app.r; SELECT * FROM app.r INTO OUTFILE '/var/lib/mysql-files/r'; DROP TABLE app.r"); !strings.Contains(out, "repair\tstatus\tOK") {
		t.Errorf("a table cannot be repaired: %s", out)
	}
	mustOnInstance(t, name, "sudo rm /var/lib/mysql-files/r")
	if flavor == "MariaDB" {
		mustOnInstance(t, name, "sudo mariadb-upgrade --force")
	}
	assertControls(t, name, flavor, query)
}

// assertControls has the scanner judge the database, as it is and with faults.
func assertControls(t *testing.T, name, flavor string, query func(string) string) {
	t.Helper()
	scan := func() (string, error) {
		args := []string{"run", "./scan", "--stack", stackName, "--only", "mysql-controls"}
		if name != "db" {
			args = append(args, "--db", name)
		}
		return output("go", args...)
	}
	if out, err := scan(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// Both servers refuse an account without a password: it is written past them.
	blank := "INSERT INTO mysql.user (Host, User, ssl_cipher, x509_issuer, x509_subject, plugin, authentication_string) VALUES ('localhost', 'blank', '', '', '', 'caching_sha2_password', ''); FLUSH PRIVILEGES"
	if flavor == "MariaDB" {
		blank = `INSERT INTO mysql.global_priv VALUES ('localhost', 'blank', '{"plugin":"mysql_native_password","authentication_string":""}'); FLUSH PRIVILEGES`
	}
	for _, c := range []struct{ name, plant, remove, want string }{
		{"account of any host", "CREATE USER 'any'@'%' IDENTIFIED BY 'Kx7-vR2mXz94pLs8'", "DROP USER 'any'@'%'", "mysql-db-07: accounts of any host: \"any@%\""},
		{"account without a password", blank, "DROP USER 'blank'@'localhost'", "mysql-db-05: accounts without a password: \"blank@localhost\""},
		{"local_infile", "SET GLOBAL local_infile = ON", "SET GLOBAL local_infile = OFF", "cis-4.4: local_infile: \"ON\""},
	} {
		mustOnInstance(t, name, "echo "+base64.StdEncoding.EncodeToString([]byte(c.plant))+" | base64 -d | sudo mysql")
		if out, err := scan(); err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v, without %s:\n%s", c.name, err, c.want, out)
		}
		query(c.remove)
	}
	if out, err := scan(); err != nil {
		t.Errorf("with the faults gone: %v\n%s", err, out)
	}
}

func assertColumns(t *testing.T, got string) {
	t.Helper()
	got = strings.ToLower(got)
	for _, want := range []string{"id int", "auto_increment", "username varchar(50) no", "email varchar(100) no", "created_at timestamp yes"} {
		if !strings.Contains(got, want) {
			t.Errorf("table users has the columns %q, which lack %q", got, want)
		}
	}
}

func imageNamed(t testing.TB, name string) types.Image {
	t.Helper()
	out, err := api.DescribeImages(context.Background(), &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{name}}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Images) != 1 {
		t.Fatalf("%d images named %s, want 1", len(out.Images), name)
	}
	return out.Images[0]
}

func deregisterAtEnd(t testing.TB, image types.Image) {
	t.Cleanup(func() { deregisterNow(t, image) })
}

// deregisterNow removes an image and its snapshots.
func deregisterNow(t testing.TB, image types.Image) {
	t.Helper()
	ctx := context.Background()
	if _, err := api.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId}); err != nil {
		t.Error(err)
	}
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs == nil || device.Ebs.SnapshotId == nil {
			continue
		}
		if _, err := api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: device.Ebs.SnapshotId}); err != nil {
			t.Error(err)
		}
	}
}

// launchDatabase runs a db image beside the stack's, as the stack's db tier at another address.
func launchDatabase(t *testing.T, image, name, address string) {
	t.Helper()
	if report := reportOfDatabase(t, image, name, address, instance.Settings{Stack: stackName, Tier: "db", Parameters: "/goldsmith/" + stackName, ClientCIDR: "10.0.1.0/24"}, nil); !report.Ready {
		t.Fatalf("%s is not ready: %+v", name, report.Checks)
	}
}

// reportOfDatabase launches a db image in the stack's private subnet, with what change makes of the request, and waits for
// what it says of itself.
func reportOfDatabase(t *testing.T, image, name, address string, settings instance.Settings, change func(*ec2.RunInstancesInput)) instance.Report {
	t.Helper()
	ctx := context.Background()
	db := tier(t, "db")
	userData, err := settings.UserData("")
	if err != nil {
		t.Fatal(err)
	}
	input := &ec2.RunInstancesInput{
		ImageId: &image, InstanceType: db.InstanceType, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), KeyName: db.KeyName,
		SubnetId: db.SubnetId, PrivateIpAddress: &address, SecurityGroupIds: []string{*db.SecurityGroups[0].GroupId},
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: db.IamInstanceProfile.Arn},
		UserData:           aws.String(base64.StdEncoding.EncodeToString(userData)),
		TagSpecifications:  []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}}}},
	}
	if change != nil {
		change(input)
	}
	out, err := api.RunInstances(ctx, input)
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	terminateAtEnd(t, id)
	for range 240 {
		console, err := api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(aws.ToString(console.Output))
		if err != nil {
			t.Fatal(err)
		}
		if report, ok := instance.FindReport(text); ok {
			return report
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("%s (%s) did not report within two minutes", name, id)
	return instance.Report{}
}

func terminateAtEnd(t testing.TB, id string) {
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
			t.Error(err)
			return
		}
		if err := waitTerminated(ctx, id); err != nil {
			t.Error(err)
		}
	})
}
