package identity

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/sigv4"
)

// OperatorKey is the access key of whoever runs the cloud.
type OperatorKey struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
}

// NewOperatorKey makes a key that nobody can guess.
func NewOperatorKey() OperatorKey {
	return OperatorKey{AccessKeyID: "AKIA" + randomID(), SecretAccessKey: randomSecret()}
}

// Keys knows whose an access key is, and makes temporary ones.
type Keys struct {
	moto    *moto.Client
	records *records.Store
	key     OperatorKey

	mu       sync.Mutex
	sessions map[string]session // temporary keys, by id

	// issuing is held while a metadata service is given credentials; issued are the last ones of each instance.
	issuing sync.Mutex
	issued  map[awsquery.Caller]imds.Credentials
}

// STSHandlers answer calls of STS. Its temporary keys are made here, as moto makes ones that can be guessed.
func (k *Keys) STSHandlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"GetCallerIdentity":         k.getCallerIdentity,
		"AssumeRole":                k.assumeRole,
		"GetSessionToken":           k.getSessionToken,
		"GetFederationToken":        k.noSuchToken,
		"AssumeRoleWithWebIdentity": k.noSuchToken,
		"AssumeRoleWithSAML":        k.noSuchToken,
		"AssumeRoot":                k.noSuchToken,
	}
}

// IAMHandlers answer the calls of IAM after which another key is good.
func (k *Keys) IAMHandlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateAccessKey": k.createAccessKey,
		"UpdateAccessKey": k.updateAccessKey,
		"DeleteAccessKey": k.deleteAccessKey,
		"DeleteUser":      k.deleteUser,
	}
}

// New makes the keys of a cloud whose operator has this one.
func New(moto *moto.Client, records *records.Store, key OperatorKey) *Keys {
	return &Keys{
		moto:     moto,
		records:  records,
		key:      key,
		sessions: map[string]session{},
		issued:   map[awsquery.Caller]imds.Credentials{},
	}
}

func (k *Keys) operator() awsquery.Caller {
	return awsquery.Caller{
		ARN:      "arn:aws:iam::" + awsquery.Account + ":user/operator",
		UserID:   "AIDAOPERATOR00000000",
		Operator: true,
	}
}

// randomID is the part of an access key's id that differs.
func randomID() string { return rand.Text()[:16] }

func randomSecret() string {
	secret := make([]byte, 30)
	rand.Read(secret) // never fails
	return base64.StdEncoding.EncodeToString(secret)
}

// session is a temporary key. Sessions end with the process: a machine gets another one of its metadata service, and
// nobody else has one for long.
type session struct {
	key    sigv4.Key
	caller awsquery.Caller
}

// Find looks an access key up.
func (k *Keys) Find(id string) (sigv4.Key, awsquery.Caller, bool) {
	if id == k.key.AccessKeyID && id != "" {
		return sigv4.Key{Secret: k.key.SecretAccessKey}, k.operator(), true
	}
	k.mu.Lock()
	found, ok := k.sessions[id]
	k.mu.Unlock()
	if ok {
		return found.key, found.caller, true
	}
	if record, ok := k.records.AccessKey(id); ok && !record.Inactive {
		return sigv4.Key{Secret: record.Secret}, awsquery.Caller{
			ARN:    "arn:aws:iam::" + awsquery.Account + ":user/" + record.User,
			UserID: id,
		}, true
	}
	return sigv4.Key{}, awsquery.Caller{}, false
}

// issue makes a temporary key.
func (k *Keys) issue(who awsquery.Caller, last time.Duration) imds.Credentials {
	now := time.Now()
	made := imds.Credentials{
		AccessKeyID:     "ASIA" + randomID(),
		SecretAccessKey: randomSecret(),
		Token: base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text() + rand.Text() +
			rand.Text())),
		Expiration: now.Add(last),
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// One that has ended is told to have ended for a while, and then is not known any more.
	maps.DeleteFunc(k.sessions, func(_ string, old session) bool { return old.key.Expires.Add(time.Hour).Before(now) })
	k.sessions[made.AccessKeyID] = session{
		key:    sigv4.Key{Secret: made.SecretAccessKey, SessionToken: made.Token, Expires: made.Expiration},
		caller: who,
	}
	return made
}

// renewal is the time before their end at which the credentials of a metadata service are replaced by new ones.
const renewal = 15 * time.Minute

// ForInstance gives out a role's temporary credentials to one instance, the same ones for most of their time.
func (k *Keys) ForInstance(role *awsquery.Node, instance string) func(context.Context) (imds.Credentials, error) {
	name := role.Get("RoleName")
	who := awsquery.Caller{
		ARN:     "arn:aws:sts::" + awsquery.Account + ":assumed-role/" + name + "/" + instance,
		UserID:  role.Get("RoleId") + ":" + instance,
		Machine: true,
	}
	return func(context.Context) (imds.Credentials, error) {
		k.issuing.Lock()
		defer k.issuing.Unlock()
		last := k.issued[who]
		if time.Until(last.Expiration) < renewal {
			last = k.issue(who, credentialsLast)
			k.issued[who] = last
		}
		return last, nil
	}
}

func (k *Keys) noSuchToken(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return nil, awsquery.Faultf(apierror.UnsupportedOperation, "the local cloud has no %s", c.Action())
}

// tokenReply is an answer of STS that is made here.
func tokenReply(action string, children ...*awsquery.Node) *awsquery.Node {
	return &awsquery.Node{
		Name:  action + "Response",
		Space: "https://sts.amazonaws.com/doc/2011-06-15/",
		Children: []*awsquery.Node{
			awsquery.Element(action+"Result", children...),
			awsquery.Element("ResponseMetadata", awsquery.Text("RequestId", awsquery.RequestID())),
		},
	}
}

func (k *Keys) getCallerIdentity(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return tokenReply("GetCallerIdentity", awsquery.Text("Arn", c.Caller.ARN),
		awsquery.Text("UserId", c.Caller.UserID), awsquery.Text("Account", awsquery.Account)), nil
}

// assumeRole lets moto check the request, and makes the credentials itself.
func (k *Keys) assumeRole(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	_, name, found := strings.Cut(c.Get("RoleArn"), ":role/")
	if !found {
		return nil, awsquery.Fault(apierror.InvalidRoleArn, c.Get("RoleArn"))
	}
	name = name[strings.LastIndexByte(name, '/')+1:]
	if _, err := k.moto.Ask(ctx, awsquery.NewCall("iam", "GetRole", "RoleName", name)); err != nil {
		return nil, awsquery.Faultf(apierror.AccessDenied,
			"%s is not authorized to perform: sts:AssumeRole on resource: %s", c.Caller.ARN, c.Get("RoleArn"))
	}
	policy := c.Get("Policy")
	if policy != "" {
		if _, err := policyeval.ParseIdentity([]byte(policy)); err != nil {
			return nil, awsquery.Faultf(apierror.MalformedPolicyDocument, "%v", err)
		}
	}
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	assumed := answered.At("AssumeRoleResult", "AssumedRoleUser")
	return k.withCredentials(answered, "AssumeRoleResult", awsquery.Caller{
		ARN: "arn:aws:sts::" + awsquery.Account + ":assumed-role/" + name + "/" +
			c.Get("RoleSessionName"),
		UserID:            assumed.Get("AssumedRoleId"),
		Machine:           c.Caller.Machine,
		SessionPolicy:     policy,
		SessionPolicyARNs: strings.Join(sessionPolicies(c), " "),
	})
}

// sessionPolicies are the ARNs of the managed policies that a session is made with.
func sessionPolicies(c *awsquery.Call) []string {
	var all []string
	for i := 1; ; i++ {
		at, ok := c.Form[fmt.Sprintf("PolicyArns.member.%d.arn", i)]
		if !ok {
			return all
		}
		all = append(all, at...)
	}
}

func (k *Keys) getSessionToken(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return k.withCredentials(answered, "GetSessionTokenResult", c.Caller)
}

// withCredentials puts a key of our own in the place of the one that moto made.
func (k *Keys) withCredentials(answered *awsquery.Node, result string, who awsquery.Caller) (*awsquery.Node, error) {
	given := answered.At(result, "Credentials")
	ends, err := time.Parse(time.RFC3339, given.Get("Expiration"))
	if err != nil {
		return nil, fmt.Errorf("read the end of a session: %w", err)
	}
	made := k.issue(who, time.Until(ends))
	answered.Set(made.AccessKeyID, result, "Credentials", "AccessKeyId")
	answered.Set(made.SecretAccessKey, result, "Credentials", "SecretAccessKey")
	answered.Set(made.Token, result, "Credentials", "SessionToken")
	return answered, nil
}

func (k *Keys) createAccessKey(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made := answered.At("CreateAccessKeyResult", "AccessKey")
	record := &records.AccessKey{Secret: randomSecret(), User: made.Get("UserName")}
	id := made.Get("AccessKeyId")
	if err := k.records.Update(func(o *records.State) { o.AccessKeys[id] = record }); err != nil {
		return nil, err
	}
	answered.Set(record.Secret, "CreateAccessKeyResult", "AccessKey", "SecretAccessKey")
	return answered, nil
}

// deleteUser keeps a user whose keys would go on to be good.
func (k *Keys) deleteUser(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	has := false
	k.records.View(func(o *records.State) {
		for _, record := range o.AccessKeys {
			has = has || record.User == c.Get("UserName")
		}
	})
	if has {
		return nil, awsquery.Fault(apierror.DeleteConflict, "delete access keys")
	}
	return k.moto.Forward(ctx, c)
}

func (k *Keys) updateAccessKey(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, k.records.Update(func(o *records.State) {
		if record, ok := o.AccessKeys[c.Get("AccessKeyId")]; ok {
			record.Inactive = c.Get("Status") != "Active"
		}
	})
}

func (k *Keys) deleteAccessKey(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := k.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, k.records.Update(func(o *records.State) { delete(o.AccessKeys, c.Get("AccessKeyId")) })
}

// credentialsLast is the lifetime of a role's temporary credentials.
const credentialsLast = time.Hour
