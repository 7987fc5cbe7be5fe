package records

import (
	"maps"
	"net/netip"
	"slices"
)

// Reservation is a range of a subnet of which nothing is given to who does not ask for it.
type Reservation struct {
	ID          string            `json:"id"`
	Subnet      string            `json:"subnet"`
	CIDR        netip.Prefix      `json:"cidr"`
	Kind        string            `json:"kind"` // explicit or prefix
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

// ReservationsIn are the reservations of a subnet, in the order of their ids.
func (s *Store) ReservationsIn(subnet string) []Reservation {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Reservation
	for _, id := range slices.Sorted(maps.Keys(s.state.Reservations)) {
		if r := s.state.Reservations[id]; r.Subnet == subnet {
			all = append(all, r)
		}
	}
	return all
}

// Reservation finds a reservation.
func (s *Store) Reservation(id string) (Reservation, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.state.Reservations[id]
	return r, ok
}
