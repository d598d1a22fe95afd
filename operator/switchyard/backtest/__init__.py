"""A farm's own history played against policies: scenario files in, money and regret out."""
