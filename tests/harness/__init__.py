"""What tests are made with: fixtures and drivers, no tests."""
