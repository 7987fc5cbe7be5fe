package stackfile

import "net/netip"

// Operator is the range from which SSH is allowed; without one it is the caller's own address.
type Operator struct{ netip.Prefix }

// Auto tells whether it is the caller's own address, which is yet to be found out.
func (o Operator) Auto() bool { return !o.IsValid() }

// String is the range, or auto.
func (o Operator) String() string {
	if o.Auto() {
		return "auto"
	}
	return o.Prefix.String()
}

// MarshalText writes what UnmarshalText reads.
func (o Operator) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads a range, or auto.
func (o *Operator) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*o = Operator{}
		return nil
	}
	prefix, err := netip.ParsePrefix(string(text))
	*o = Operator{prefix}
	return err
}
