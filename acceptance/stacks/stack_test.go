//go:build acceptance

package stacks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// browser is an HTTP client that follows no redirect and trusts the certificate that the instance itself shows.
func browser(t testing.TB, address string) *http.Client {
	t.Helper()
	// Read without verification, to be pinned: the instance makes its certificate itself at first boot.
	conn, err := tls.Dial("tcp", net.JoinHostPort(address, "443"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	certificate := conn.ConnectionState().PeerCertificates[0]
	conn.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &http.Client{
		Timeout:       15 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type userPage struct {
	Users []struct {
		ID              int
		Username, Email string
		CreatedAt       time.Time `json:"created_at"`
	}
	Total int
}

func (p userPage) names() []string {
	var names []string
	for _, u := range p.Users {
		names = append(names, u.Username)
	}
	return names
}

func users(t testing.TB, client *http.Client, address string) userPage {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "https://"+address+"/users", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("GET /users: %s", response.Status)
	}
	var page userPage
	rig.Decode(t, response.Body, &page)
	return page
}

func TestPage(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)

	t.Run("http is sent to https", func(t *testing.T) {
		response, err := client.Get("http://" + address + "/users?limit=1")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		got, want := response.Header.Get("Location"), "https://"+address+"/users?limit=1"
		if response.StatusCode != http.StatusMovedPermanently || got != want {
			t.Errorf("got %s to %q, want 301 to %q", response.Status, got, want)
		}
	})
	t.Run("the page", func(t *testing.T) {
		response, err := client.Get("https://" + address + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
			t.Errorf("got %s over %s, want 200 over HTTP/2", response.Status, response.Proto)
		}
		for _, name := range []string{"admin@example.com", "test@example.com"} {
			if !strings.Contains(string(body), name) {
				t.Errorf("the page does not show %s", name)
			}
		}
	})
	t.Run("health", func(t *testing.T) {
		response, err := client.Get("https://" + address + "/health")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(response.Body)
			t.Errorf("got %s: %s", response.Status, body)
		}
	})
	t.Run("seeded users", func(t *testing.T) {
		page := users(t, client, address)
		if names := page.names(); len(names) < 2 || names[0] != "admin" || names[1] != "test" {
			t.Errorf("got %v, want admin and test first", names)
		}
	})
}

func TestTLSVersions(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)
	for version, want := range map[uint16]bool{
		tls.VersionTLS11: false,
		tls.VersionTLS12: true,
		tls.VersionTLS13: true,
	} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			conf := client.Transport.(*http.Transport).TLSClientConfig.Clone()
			conf.MinVersion, conf.MaxVersion = version, version
			conn, err := tls.Dial("tcp", address+":443", conf)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != want {
				t.Errorf("handshake: %v, wanted it to succeed: %v", err, want)
			}
		})
	}
}

func TestAddedUserOutlivesTheWebInstance(t *testing.T) {
	before := rig.Tier(t, "web")
	address := aws.ToString(before.PublicIpAddress)
	client := browser(t, address)
	name := fmt.Sprintf("u%d", time.Now().UnixNano()%1e9)

	response, err := client.Post("https://"+address+"/users", "application/json",
		strings.NewReader(fmt.Sprintf(`{"username":%q,"email":"%s@example.com"}`, name, name)))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		t.Fatalf("POST /users: %s", response.Status)
	}

	rig.Must(t, rig.Goldsmith(), "deploy", "--stack", rig.StackName, "--replace", "web")

	after := rig.Tier(t, "web")
	if *after.InstanceId == *before.InstanceId {
		t.Fatalf("instance %s is still there, it should have been replaced", *before.InstanceId)
	}
	address = aws.ToString(after.PublicIpAddress)
	if names := users(t, browser(t, address), address).names(); !slices.Contains(names, name) {
		t.Errorf("user %s is gone, there are %v", name, names)
	}
}

func TestRefusedPosts(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)
	for _, c := range []struct {
		name, contentType, body string
		want                    int
	}{
		{"no JSON", "application/json", `{`, http.StatusBadRequest},
		{"no name", "application/json", `{"email":"a@example.com"}`, http.StatusBadRequest},
		{"no address", "application/json", `{"username":"a","email":"nope"}`, http.StatusBadRequest},
		{
			"long name",
			"application/json",
			`{"username":"` + strings.Repeat("a", 51) + `","email":"a@example.com"}`,
			http.StatusBadRequest,
		},
		{
			"too large",
			"application/json",
			`{"username":"` + strings.Repeat("a", 1<<21) + `"}`,
			http.StatusRequestEntityTooLarge,
		},
		{"another type", "text/plain", `hello`, http.StatusUnsupportedMediaType},
	} {
		t.Run(c.name, func(t *testing.T) {
			response, err := client.Post("https://"+address+"/users", c.contentType, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != c.want {
				t.Errorf("got %s, want %d", response.Status, c.want)
			}
		})
	}
}

func TestDatabaseIsPrivate(t *testing.T) {
	db, web := rig.Tier(t, "db"), rig.Tier(t, "web")
	if public := aws.ToString(db.PublicIpAddress); public != "" {
		t.Errorf("the database has the public address %s", public)
	}
	private := rig.DatabaseAddress
	if own := aws.ToString(db.PrivateIpAddress); own == private {
		t.Errorf("the service address %s is the instance's primary one, which cannot move", own)
	}
	if !strings.HasPrefix(private, "10.0.2.") {
		t.Errorf("the database is at %s, not in the private subnet", private)
	}
	// Nothing is sent to the private address from here: the host must not even know a way into the VPC.
	if routes := rig.Must(t, "ip", "route", "show", "table", "all"); strings.Contains(routes, "10.0.2.") {
		t.Errorf("the host has a route into the private subnet:\n%s", routes)
	}
	if conn, err := net.DialTimeout(
		"tcp",
		net.JoinHostPort(aws.ToString(web.PublicIpAddress), "3306"),
		2*time.Second,
	); err == nil {
		// A relay may take the connection before it is refused behind it: what counts is that nothing answers.
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			t.Error("something answers on 3306 of the web instance's address")
		}
		conn.Close()
	}
	probe := func(from, port string) error {
		_, err := rig.OnInstance(t, from, fmt.Sprintf("timeout 3 bash -c '</dev/tcp/%s/%s'", private, port))
		return err
	}
	if err := probe("web", "3306"); err != nil {
		t.Errorf("the web instance does not reach the database: %v", err)
	}
	if name := rig.MustOnInstance(t, "db", "hostname -I"); !strings.Contains(name, private) {
		t.Errorf("ssh to the database through the web instance ended on %q", name)
	}
	other := launchStranger(t)
	for _, port := range []string{"22", "3306"} {
		if err := probe(other, port); err == nil {
			t.Errorf("an instance of the public subnet that is not in web-sg reaches port %s of the database", port)
		}
	}
}

// launchStranger runs an instance beside web, in the same subnet, with a group that only lets the operator in.
func launchStranger(t *testing.T) string {
	t.Helper()
	ctx := context.Background()
	web := rig.Tier(t, "web")
	group, err := rig.API.CreateSecurityGroup(
		ctx,
		&ec2.CreateSecurityGroupInput{
			GroupName:   aws.String("stranger"),
			Description: aws.String("not web-sg"),
			VpcId:       web.VpcId,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, deleted := rig.API.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: group.GroupId})
		if deleted != nil {
			t.Error(deleted)
		}
	})
	_, err = rig.API.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId:    group.GroupId,
		IpProtocol: aws.String("tcp"),
		FromPort:   aws.Int32(22),
		ToPort:     aws.Int32(22),
		CidrIp:     aws.String("198.51.100.1/32"),
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := rig.API.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId:          rig.BaseImage(t, "debian-13-amd64-*"),
		InstanceType:     types.InstanceTypeT3Micro,
		MinCount:         aws.Int32(1),
		MaxCount:         aws.Int32(1),
		SubnetId:         web.SubnetId,
		SecurityGroupIds: []string{*group.GroupId},
		KeyName:          web.KeyName,
		TagSpecifications: []types.TagSpecification{
			{
				ResourceType: types.ResourceTypeInstance,
				Tags:         []types.Tag{{Key: aws.String("Name"), Value: aws.String("stranger")}},
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	rig.TerminateAtEnd(t, id)
	rig.WaitForSSH(t, "stranger")
	return "stranger"
}

// TestNetwork asks the API for what `goldsmith network up` promises.
func TestNetwork(t *testing.T) {
	ctx := context.Background()
	web, db := rig.Tier(t, "web"), rig.Tier(t, "db")
	groups, err := rig.API.DescribeSecurityGroups(
		ctx,
		&ec2.DescribeSecurityGroupsInput{
			Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{*web.VpcId}}},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for _, group := range groups.SecurityGroups {
		for _, p := range group.IpPermissions {
			for _, r := range p.IpRanges {
				rules[*group.GroupName] = append(
					rules[*group.GroupName],
					fmt.Sprintf("%s %d %s", *p.IpProtocol, aws.ToInt32(p.FromPort), *r.CidrIp),
				)
			}
			for _, r := range p.UserIdGroupPairs {
				rules[*group.GroupName] = append(
					rules[*group.GroupName],
					fmt.Sprintf("%s %d %s", *p.IpProtocol, aws.ToInt32(p.FromPort), *r.GroupId),
				)
			}
		}
	}
	webGroup := *web.SecurityGroups[0].GroupId
	for name, want := range map[string][]string{
		"web-sg": {"tcp 22 198.51.100.1/32", "tcp 443 0.0.0.0/0", "tcp 80 0.0.0.0/0"},
		"db-sg":  {"icmp -1 " + webGroup, "tcp 22 " + webGroup, "tcp 3306 " + webGroup},
	} {
		slices.Sort(rules[name])
		if !slices.Equal(rules[name], want) {
			t.Errorf("%s allows %q, want %q", name, rules[name], want)
		}
	}
	if *web.SubnetId == *db.SubnetId {
		t.Error("both instances are in one subnet")
	}
	if out := rig.Must(t, rig.Goldsmith(), "network", "up", "--stack", rig.StackName); !strings.Contains(
		out,
		"unchanged",
	) {
		t.Errorf("a second `network up` does not say that it changed nothing:\n%s", rig.End(t, out))
	}
	// The private subnet gets out through the NAT gateway, and nothing gets in.
	rig.MustOnInstance(t, "db", "sudo apt-get -q update")
}

// TestDestroy makes a second stack beside the first and removes it with all that it had.
func TestDestroy(t *testing.T) {
	gateways := func() string {
		return rig.Must(t, "aws", "ec2", "describe-nat-gateways", "--filter", "Name=state,Values=available",
			"--query", "NatGateways[].NatGatewayId")
	}
	before, own := rig.Inventory(t), gateways()
	rig.Must(t, rig.Goldsmith(), "network", "up", "--stack", "second")
	rig.Must(t, rig.Goldsmith(), "deploy", "--stack", "second", "--db-ami", aws.ToString(rig.Tier(t, "db").ImageId),
		"--web-ami", aws.ToString(rig.Tier(t, "web").ImageId))
	if _, err := rig.Output(rig.Goldsmith(), "network", "down", "--stack", "second"); err == nil {
		t.Error("a network with instances in it was removed")
	}
	rig.Must(t, rig.Goldsmith(), "destroy", "--stack", "second", "--yes")
	rig.AssertNothingLeft(t, before)
	for _, left := range []string{
		rig.Must(t, "aws", "ec2", "describe-vpcs", "--filters", "Name=tag:goldsmith:stack,Values=second", "--query",
			"Vpcs"),
		rig.Must(t, "aws", "ssm", "describe-parameters", "--query",
			"Parameters[?starts_with(Name, '/goldsmith/second')]"),
		rig.Must(t, "aws", "iam", "list-roles", "--query", "Roles[?contains(RoleName, 'second')]"),
		rig.Must(t, "aws", "ec2", "describe-nat-gateways", "--filter", "Name=tag:goldsmith:stack,Values=second",
			"Name=state,Values=available", "--query", "NatGateways"),
	} {
		if strings.TrimSpace(left) != "[]" {
			t.Errorf("still there after destroy: %s", left)
		}
	}
	if now := gateways(); now != own {
		t.Errorf("the NAT gateways were %s and are %s", own, now)
	}
	rig.Must(t, rig.Goldsmith(), "destroy", "--stack", "second", "--yes") // and once more, with nothing there
}

func TestStatus(t *testing.T) {
	var status json.RawMessage
	rig.Decode(t, strings.NewReader(rig.Must(t, rig.Goldsmith(), "cloud", "status", "--json")), &status)
	for _, want := range []string{*rig.Tier(t, "web").InstanceId, *rig.Tier(t, "db").InstanceId} {
		if !strings.Contains(string(status), want) {
			t.Errorf("cloud status does not name %s:\n%s", want, status)
		}
	}
	if logs := rig.Must(t, rig.Goldsmith(), "cloud", "logs", "db"); !strings.Contains(logs, "GOLDSMITH-READY") {
		t.Errorf("the console of db has no ready report:\n%s", logs)
	}
}

func TestUnverifiedNameIsRefused(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)
	conf := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName = "another.example.com"
	if conn, err := tls.Dial("tcp", address+":443", conf); err == nil {
		conn.Close()
		t.Error("the certificate is good for any name")
	}
	response, err := client.Get((&url.URL{Scheme: "https", Host: address, Path: "/livez"}).String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

// TestCertificateOfTheUsersOwn puts a pair into the parameters and wants a new web instance to show it.
func TestCertificateOfTheUsersOwn(t *testing.T) {
	ctx := context.Background()
	conf, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		t.Fatal(err)
	}
	parameters := ssm.NewFromConfig(conf)
	put := func(certificate, key string) {
		t.Helper()
		for name, value := range map[string]string{"tls_certificate": certificate, "tls_key": key} {
			full := aws.String("/goldsmith/" + rig.StackName + "/web/" + name)
			_, refused := parameters.PutParameter(ctx, &ssm.PutParameterInput{
				Name:      full,
				Value:     aws.String(value),
				Type:      ssmtypes.ParameterTypeSecureString,
				Overwrite: aws.Bool(true),
			})
			if refused != nil {
				t.Fatal(refused)
			}
		}
	}
	t.Cleanup(func() {
		for _, name := range []string{"tls_certificate", "tls_key"} {
			full := aws.String("/goldsmith/" + rig.StackName + "/web/" + name)
			if _, refused := parameters.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: full}); refused != nil {
				t.Error(refused)
			}
		}
		rig.Must(t, rig.Goldsmith(), "deploy", "--stack", rig.StackName, "--replace", "web")
	})
	// One that has expired, or whose key is another's, is never served: the old instance goes on.
	old := *rig.Tier(t, "web").InstanceId
	expired, expiredKey := ownPair(t, "www.example.com", time.Now().Add(-time.Minute))
	certificate, key := ownPair(t, "www.example.com", time.Now().Add(time.Hour))
	for want, pair := range map[string][2]string{
		"it is valid from":           {expired, expiredKey},
		"private key does not match": {certificate, expiredKey},
	} {
		put(pair[0], pair[1])
		out, failed := rig.Output(rig.Goldsmith(), "deploy", "--stack", rig.StackName, "--replace", "web")
		if failed == nil || !strings.Contains(out, want) || !strings.Contains(out, "/web/tls_certificate") {
			t.Errorf("%v; the output should say %q:\n%s", failed, want, rig.End(t, out))
		}
		if now := *rig.Tier(t, "web").InstanceId; now != old {
			t.Errorf("%s runs and not %s", now, old)
		}
	}
	put(certificate, key)
	rig.Must(t, rig.Goldsmith(), "deploy", "--stack", rig.StackName, "--replace", "web")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(certificate))
	conn, err := tls.Dial(
		"tcp",
		aws.ToString(rig.Tier(t, "web").PublicIpAddress)+":443",
		&tls.Config{RootCAs: roots, ServerName: "www.example.com"},
	)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// ownPair is a certificate for a name, and its key.
func ownPair(t *testing.T, name string, until time.Time) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     until,
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
