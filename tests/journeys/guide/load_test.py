import asyncio
import aiohttp
import time

async def load_test():
    async with aiohttp.ClientSession() as session:
        tasks = []
        for i in range(1000):
            transaction_data = {
                "transaction_id": f"TXN_{i}",
                "amount": 100.0 + i,
                "user_id": f"USER_{i % 100}",
                "merchant_id": f"MERCH_{i % 50}",
                "merchant_category": "electronics"
            }
            task = session.post('http://localhost:8000/predict', json=transaction_data)
            tasks.append(task)
        
        start_time = time.time()
        responses = await asyncio.gather(*tasks)
        end_time = time.time()
        
        print(f"Processed {len(responses)} requests in {end_time - start_time:.2f} seconds")
        print(f"Average response time: {(end_time - start_time) / len(responses) * 1000:.2f} ms")

# Run load test
asyncio.run(load_test())
